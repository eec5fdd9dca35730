// A function on Go's net/http: hooks, events that are echoed, and `GET /`.
package main

import (
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

var hooks = map[string]string{"/initialize": "POST", "/pre-freeze": "GET", "/pre-stop": "GET"}

func answer(w http.ResponseWriter, r *http.Request) {
	event, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	// A client of an HTTP trigger must not reach the hooks.
	inside := r.Header.Get("x-fc-control-path") != "/http-invoke"
	path := r.URL.Path
	status, body := 404, []byte("no such path")
	if inside && hooks[path] == r.Method {
		status, body = 200, []byte("ok")
	} else if inside && r.Method == "POST" && path == "/invoke" {
		status, body = 200, event
	} else if r.Method == "GET" && path == "/" {
		status, body = 200, []byte("hello")
	}
	w.Header().Set("x-fc-status", map[bool]string{true: "200", false: "404"}[status < 400])
	w.WriteHeader(status)
	w.Write(body)
}

func main() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go func() {
		<-stop
		os.Exit(0)
	}()
	server := http.Server{Addr: "0.0.0.0:" + os.Getenv("FC_CUSTOM_LISTEN_PORT"), Handler: http.HandlerFunc(answer)}
	if limit, err := time.ParseDuration(os.Getenv("LIMIT")); err == nil {
		server.IdleTimeout, server.ReadHeaderTimeout = limit, limit
		server.ReadTimeout, server.WriteTimeout = limit, limit
	}
	if err := server.ListenAndServe(); err != nil {
		panic(err)
	}
}

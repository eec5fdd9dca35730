// Peer: Go's net/http.
package main

import (
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
)

func ready(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return
	}
	w.Header().Set("x-fc-status", "200")
	w.Header().Set("content-type", "text/plain; charset=utf-8")
	w.Header()["Date"] = nil
	io.WriteString(w, "ready")
}

// The whole body is read before any of it is written: net/http sends no reply while a body still comes.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	w.Header().Set("x-fc-status", "200")
	w.Header().Set("content-type", "application/octet-stream")
	w.Header().Set("content-length", strconv.Itoa(len(body)))
	w.Header()["Date"] = nil
	w.Write(body)
}

func main() {
	handler := ready
	if os.Getenv("ECHO") == "whole" {
		handler = echo
	}
	port := os.Getenv("FC_SERVER_PORT")
	if port == "" {
		port = "9000"
	}
	log.Fatal(http.ListenAndServe("0.0.0.0:"+port, http.HandlerFunc(handler)))
}

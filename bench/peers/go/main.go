// Peer: Go's net/http.
package main

import (
	"io"
	"log"
	"net/http"
	"os"
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

func main() {
	port := os.Getenv("FC_SERVER_PORT")
	if port == "" {
		port = "9000"
	}
	log.Fatal(http.ListenAndServe("0.0.0.0:"+port, http.HandlerFunc(ready)))
}

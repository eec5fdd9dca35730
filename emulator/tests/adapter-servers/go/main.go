// The same on Go's net/http.
package main

import (
	"io"
	"net/http"
	"os"
)

func serve(w http.ResponseWriter, r *http.Request) {
	if r.Method != "POST" {
		io.WriteString(w, "hello")
		return
	}
	if body, err := io.ReadAll(r.Body); err == nil {
		w.Write(body)
	}
}

func main() {
	if err := http.ListenAndServe(":"+os.Getenv("PORT"), http.HandlerFunc(serve)); err != nil {
		panic(err)
	}
}

// A webhook with nothing but Go's standard library.
package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
)

// setting is an environment variable, or what to say without one.
func setting(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

// greeting says where it runs, which commit, and what was sent.
func greeting(body string) string {
	commit := setting("HOOKWRIGHT_COMMIT", "unknown")
	if len(commit) > 7 {
		commit = commit[:7]
	}
	text := fmt.Sprintf("Hello from Go in %s, commit %s", setting("HOOKWRIGHT_ENVIRONMENT", "nowhere"), commit)
	if body != "" {
		text += ": " + body
	}
	return text + "\n"
}

func main() {
	http.HandleFunc("/readyz", func(answer http.ResponseWriter, _ *http.Request) { fmt.Fprintln(answer, "ready") })
	http.HandleFunc("/", func(answer http.ResponseWriter, request *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(answer, request.Body, 1<<20))
		if err != nil {
			http.Error(answer, "the body is too large", http.StatusRequestEntityTooLarge)
			return
		}
		fmt.Fprint(answer, greeting(string(body)))
	})
	address := "127.0.0.1:" + setting("PORT", "8080")
	log.Printf("listening on %s", address)
	log.Fatal(http.ListenAndServe(address, nil))
}

// Command server is what the tests run in a container: it sets the sysctl whose file is SET to TO, and then answers
// every request on port 80 with its environment.
package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
	"strings"
)

func main() {
	if file := os.Getenv("SET"); file != "" {
		if err := os.WriteFile(file, []byte(os.Getenv("TO")), 0); err != nil {
			log.Fatal(err)
		}
	}
	log.Fatal(http.ListenAndServe(":80", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, strings.Join(os.Environ(), "\n"))
	})))
}

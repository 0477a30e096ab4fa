// Hello: an API that accepts audience tokens. Needs Go 1.19 or newer and no module.
package main

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
)

// User is a part of the answer of POST /v1/introspect.
type User struct {
	Active   bool     `json:"active"`
	Username string   `json:"username"`
	Groups   []string `json:"groups"`
}

type answer struct {
	user  *User
	until time.Time
}

var (
	client = newClient(os.Getenv("CA_FILE"))
	lock   sync.Mutex
	recent = map[[32]byte]answer{} // by the SHA-256 of a valid token
)

// validate returns the user of a token, or nil if the token is invalid. An error means that the daemon gave no answer:
// the token may be valid, so answer 503.
func validate(token string) (*User, error) {
	asked, key := time.Now(), sha256.Sum256([]byte(token))
	lock.Lock()
	known := recent[key]
	lock.Unlock()
	if asked.Before(known.until) {
		return known.user, nil
	}
	credential, err := os.ReadFile(os.Getenv("CREDENTIAL_FILE")) // each time, so that you can replace it
	if err != nil {
		return nil, err
	}
	form := strings.NewReader(url.Values{"token": {token}}.Encode())
	request, err := http.NewRequest("POST", os.Getenv("INFRA_SERVER")+"/v1/introspect", form)
	if err != nil {
		return nil, err
	}
	request.SetBasicAuth(os.Getenv("SERVICE"), strings.TrimSpace(string(credential)))
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	if response.StatusCode == http.StatusRequestEntityTooLarge { // larger than any token
		return nil, nil
	}
	if response.StatusCode != http.StatusOK { // 401: the daemon rejects the credential, not the token
		return nil, fmt.Errorf("%s: %.300s", response.Status, body)
	}
	user := &User{}
	if err := json.Unmarshal(body, user); err != nil {
		return nil, err
	}
	if !user.Active {
		return nil, nil
	}
	lock.Lock()
	defer lock.Unlock()
	if len(recent) >= 10_000 {
		recent = map[[32]byte]answer{}
	}
	recent[key] = answer{user, asked.Add(time.Second)}
	return user, nil
}

func newClient(caFile string) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.IdleConnTimeout = 20 * time.Second // the daemon closes idle connections after 30 s
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			log.Fatalf("cannot use CA_FILE: %v", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			log.Fatalf("%s has no certificate", caFile)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	return &http.Client{Transport: transport, Timeout: 5 * time.Second}
}

func hello(response http.ResponseWriter, request *http.Request) {
	scheme, token, _ := strings.Cut(request.Header.Get("Authorization"), " ")
	var user *User
	challenge := "Bearer"
	if strings.EqualFold(scheme, "Bearer") && token != "" {
		challenge = `Bearer error="invalid_token"` // RFC 6750 section 3.1
		var err error
		if user, err = validate(token); err != nil {
			log.Printf("cannot validate a token: %v", err)
			response.Header().Set("Retry-After", "1")
			http.Error(response, "cannot validate your token: try again", http.StatusServiceUnavailable)
			return
		}
	}
	if user == nil {
		response.Header().Set("WWW-Authenticate", challenge)
		http.Error(response, "no valid token", http.StatusUnauthorized)
		return
	}
	response.Header().Set("Cache-Control", "no-store")
	fmt.Fprintf(response, "hello %s\n", user.Username)
}

func main() {
	for _, name := range []string{"INFRA_SERVER", "SERVICE", "CREDENTIAL_FILE"} {
		if os.Getenv(name) == "" {
			log.Fatalf("%s is not set", name)
		}
	}
	if server := os.Getenv("INFRA_SERVER"); !strings.HasPrefix(server, "https://") || strings.HasSuffix(server, "/") {
		log.Fatal("INFRA_SERVER must be an https address without a slash at its end")
	}
	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("listening on http://127.0.0.1:%s\n", port)
	log.Fatal(http.Serve(listener, http.HandlerFunc(hello)))
}

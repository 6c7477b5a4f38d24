// Package oidctest starts a real provider of OpenID Connect for tests: the certified library's own server, as a process.
package oidctest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"mailbeacon/internal/engines"
)

// The server's module and version. It is built by itself and stands in nobody's go.mod.
const (
	server  = "github.com/zitadel/oidc/v3/example/server"
	version = "v3.52.0"
)

// The client that the provider knows, and the password of everybody.
const (
	ClientID = "web"
	Secret   = "secret"
	Password = "verysecure"
)

// RoleClaim is the claim that holds User.Group.
const RoleClaim = "family_name"

// User is somebody whom the provider knows.
type User struct{ Name, Group string }

// Provider is a provider that runs until the test ends.
type Provider struct {
	Issuer string
	cmd    *exec.Cmd
	ended  chan struct{}
	end    sync.Once
}

// path of the server's binary, which is built once.
func built(t testing.TB) string {
	t.Helper()
	cache, err := engines.Cache()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(cache, "oidc-provider-"+version)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	work := t.TempDir()
	install := exec.CommandContext(t.Context(), "go", "install", server+"@"+version)
	install.Dir = work
	install.Env = append(os.Environ(), "GOBIN="+work, "GOFLAGS=", "CGO_ENABLED=0")
	if out, err := install.CombinedOutput(); err != nil {
		if os.Getenv("CI") == "" {
			t.Skipf("the provider can't be built: %v: %s", err, out)
		}
		t.Fatalf("build the provider: %v: %s", err, out)
	}
	b, err := os.ReadFile(filepath.Join(work, "server"))
	if err == nil {
		mine := fmt.Sprintf("%s.%d", path, os.Getpid())
		err = errors.Join(os.WriteFile(mine, b, 0o755), os.Rename(mine, path)) //nolint:gosec // a program
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Start starts a provider that knows some people and sends them back to one of the redirect addresses.
func Start(t testing.TB, redirects []string, users ...User) *Provider {
	t.Helper()
	path := built(t)
	known := map[string]map[string]any{}
	for i, u := range users {
		id := fmt.Sprintf("id%d", i+1)
		known[id] = map[string]any{
			"ID": id, "Username": u.Name, "Password": Password, "FirstName": "F", "LastName": u.Group, "PreferredLanguage": "en", "Email": "somebody@example.com",
		}
	}
	b, err := json.Marshal(known)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "users.json")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := fmt.Sprint(ln.Addr().(*net.TCPAddr).Port)
	ln.Close()
	p := &Provider{Issuer: "http://localhost:" + port + "/", ended: make(chan struct{})}
	p.cmd = exec.Command(path)
	p.cmd.Env = append(os.Environ(), "PORT="+port, "USERS_FILE="+file, "REDIRECT_URI="+strings.Join(redirects, ","))
	out := &bytes.Buffer{}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // killed
		close(p.ended)
	}()
	t.Cleanup(p.Stop)
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if answers(t.Context(), p.Issuer) {
			return p
		}
		if time.Now().After(deadline) {
			p.Stop()
			t.Fatalf("the provider does not start:\n%s", out)
		}
	}
}

func answers(ctx context.Context, issuer string) bool {
	c := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, issuer+".well-known/openid-configuration", nil)
	if err != nil {
		return false
	}
	resp, err := c.Do(r)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// Stop ends the provider. It may be called again.
func (p *Provider) Stop() {
	p.end.Do(func() { _ = p.cmd.Process.Kill() })
	<-p.ended
}

var authRequest = regexp.MustCompile(`name="id" value="([^"]+)"`)

// Visit goes to the address that a sign-in begins with, gives name and password, and returns where the provider then sends the
// browser.
func (p *Provider) Visit(t testing.TB, address, name string) *url.URL {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	var back *url.URL
	c := &http.Client{
		Jar: jar, Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(r *http.Request, _ []*http.Request) error {
			if !strings.HasPrefix(r.URL.String(), p.Issuer) {
				back = r.URL
				return http.ErrUseLastResponse
			}
			return nil
		},
	}
	ask := func(method, address string, body url.Values) string {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		page, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(page)
	}
	page := ask(http.MethodGet, address, nil)
	id := authRequest.FindStringSubmatch(page)
	if id == nil {
		t.Fatalf("the provider shows no form:\n%s", page)
	}
	page = ask(http.MethodPost, p.Issuer+"login/username", url.Values{"id": {id[1]}, "username": {name}, "password": {Password}})
	if back == nil {
		t.Fatalf("the provider sends nobody back:\n%s", page)
	}
	return back
}

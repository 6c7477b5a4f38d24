package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// errAbsent: a peer is not installed on this machine.
var errAbsent = errors.New("not installed")

// process is a server that was started here.
type process struct {
	cmd  *exec.Cmd
	addr string
	data string // mailbeacon's data folder
	log  *bytes.Buffer

	since atomic.Int64 // processor time when the meter was started, in nanoseconds
}

// stop ends the process and waits for it. It may be called on nil.
func (p *process) stop() {
	if p == nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	ended := make(chan struct{})
	go func() {
		_ = p.cmd.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(15 * time.Second):
		_ = p.cmd.Process.Kill()
		<-ended
	}
}

func launch(addr, name string, args ...string) (*process, error) {
	p := newProcess(addr, name, args...)
	return p, p.cmd.Start()
}

// newProcess is a server that does not run yet.
func newProcess(addr, name string, args ...string) *process {
	p := &process{cmd: exec.Command(name, args...), addr: addr, log: &bytes.Buffer{}}
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	return p
}

// await waits until something answers at the process's address.
func (p *process) await(ctx context.Context, ready func() bool) error {
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if ready() {
			return nil
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			p.stop()
			return fmt.Errorf("it does not answer; it said:\n%s", p.log)
		}
	}
}

func (p *process) listens() bool {
	conn, err := net.DialTimeout("tcp", p.addr, time.Second)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// freeAddress finds a port that is free now.
func freeAddress() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}

func startBare(ctx context.Context, _ string) (*process, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p, err := launch(addr, self, "bare", "-listen", addr)
	if err != nil {
		return nil, err
	}
	return p, p.await(ctx, p.listens)
}

const nginxConfig = `daemon off;
worker_processes auto;
pid %[1]s/nginx.pid;
error_log %[1]s/error.log;
events { worker_connections 4096; }
http {
  access_log %[1]s/access.log combined;
  client_body_temp_path %[1]s/body;
  proxy_temp_path %[1]s/proxy;
  fastcgi_temp_path %[1]s/fastcgi;
  uwsgi_temp_path %[1]s/uwsgi;
  scgi_temp_path %[1]s/scgi;
  keepalive_requests 1000000000;
  server { listen %[2]s; location / { empty_gif; } }
}
`

func startNginx(ctx context.Context, dir string) (*process, error) {
	name, err := exec.LookPath("nginx")
	if err != nil {
		return nil, fmt.Errorf("%w (apt-get install nginx-light)", errAbsent)
	}
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	home := filepath.Join(dir, "nginx")
	if err := os.Mkdir(home, 0o700); err != nil {
		return nil, err
	}
	config := filepath.Join(home, "nginx.conf")
	text := fmt.Sprintf(nginxConfig, home, addr)
	if os.Geteuid() == 0 {
		text = "user root;\n" + text // its workers must be able to write to the folder
	}
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	p, err := launch(addr, name, "-p", home, "-c", config, "-e", filepath.Join(home, "error.log"))
	if err != nil {
		return nil, err
	}
	return p, p.await(ctx, p.listens)
}

// buildMailbeacon builds the server as anybody would.
func buildMailbeacon(ctx context.Context, dir string) error {
	mod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return fmt.Errorf("find the module: %w", err)
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(dir, "mailbeacon"), "./cmd/mailbeacon")
	cmd.Dir = filepath.Dir(strings.TrimSpace(string(mod)))
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build mailbeacon: %w\n%s", err, text)
	}
	return nil
}

func startMailbeacon(ctx context.Context, dir string) (*process, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	admin, err := freeAddress()
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	p, err := launch(addr, filepath.Join(dir, "mailbeacon"), "serve", "--data", data, "--listen", addr, "--admin", admin,
		"--public-url", "http://"+addr, "--classify-window", "1s")
	if err != nil {
		return nil, err
	}
	p.data = data
	return p, p.await(ctx, func() bool {
		resp, err := http.Get("http://" + admin + "/readyz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

package clickhouse

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// startWait is how long a server may take until it answers.
const startWait = time.Minute

// startFront builds the front and starts it with the engine's library.
func startFront(ctx context.Context, o Options) (*Server, error) {
	lib, err := provision(ctx)
	if err != nil {
		return nil, fmt.Errorf("provide the ClickHouse engine (a running server can be named by %s): %w", EnvNative, err)
	}
	cache := filepath.Dir(lib)
	unlock, err := lock(ctx, filepath.Join(cache, "front.lock"))
	if err != nil {
		return nil, err
	}
	defer unlock() // once it runs, another process may build its own
	front := filepath.Join(cache, "front")
	// Neither cgo nor the race detector: their runtime and the library's don't go together.
	build := exec.CommandContext(ctx, "go", "build", "-race=false", "-o", front, "mailbeacon/internal/engines/clickhouse/front")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the ClickHouse front: %w: %s", err, out)
	}
	args := []string{"-lib", lib, "-dir", o.Dir, "-detached=" + strconv.FormatBool(o.Detached)}
	for name, value := range map[string]string{"-native": o.Native, "-http": o.HTTP, "-version": o.Version} {
		if value != "" {
			args = append(args, name, value)
		}
	}
	cmd := exec.Command(front, args...) // outlives ctx
	cmd.Env = append(os.Environ(), "FRONT_PASSWORD="+o.Password)
	s, out, err := launch(cmd, o)
	if err != nil {
		return nil, fmt.Errorf("start the ClickHouse front: %w", err)
	}
	line, err := firstLine(ctx, out)
	var version string
	if err == nil {
		_, err = fmt.Sscanf(line, "ready native=%s http=%s version=%s", &s.Native, &s.HTTP, &version)
	}
	if err != nil {
		_ = s.Kill() // the failure before is the news
		return nil, fmt.Errorf("the ClickHouse front did not start: %w; see %s", err, logFile(o.Dir))
	}
	s.Options.Native, s.Options.HTTP = s.Native, s.HTTP
	return s, nil
}

func logFile(dir string) string { return filepath.Join(dir, "server.log") }

// launch starts a process whose output is returned and whose errors go to a file in the folder.
func launch(cmd *exec.Cmd, o Options) (*Server, io.Reader, error) {
	log, err := os.OpenFile(logFile(o.Dir), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, err
	}
	defer log.Close() // the process has its own
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	orphan := func() {}
	if o.Detached {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	} else {
		in, err := cmd.StdinPipe()
		if err != nil {
			return nil, nil, err
		}
		orphan = func() { _ = in.Close() }
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	s := &Server{Options: o, cmd: cmd, orphan: orphan, ended: make(chan struct{})}
	if o.Detached {
		if err := os.WriteFile(pidFile(o.Dir), []byte(strconv.Itoa(cmd.Process.Pid)), 0o600); err != nil {
			_ = cmd.Process.Kill() // the failure before is the news
			return nil, nil, err
		}
	}
	go func() {
		defer close(s.ended)
		_, _ = cmd.Process.Wait() // how it ended does not matter to anybody
	}()
	return s, out, nil
}

// firstLine waits for the line that says that a process is ready.
func firstLine(ctx context.Context, out io.Reader) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	line, failed := make(chan string, 1), make(chan error, 1)
	go func() {
		text, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			failed <- err
			return
		}
		line <- strings.TrimSpace(text)
	}()
	select {
	case text := <-line:
		return text, nil
	case err := <-failed:
		return "", err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// least is the oldest version of an installed server that is used.
const least = 25

// installed is the path of a clickhouse binary that is new enough, "" where there is none.
func installed(ctx context.Context) string {
	path, err := exec.LookPath("clickhouse")
	if err != nil {
		return ""
	}
	out, err := exec.CommandContext(ctx, path, "server", "--version").Output()
	if err != nil {
		return ""
	}
	var major int
	for word := range strings.FieldsSeq(string(out)) {
		if n, err := fmt.Sscanf(word, "%d.", &major); n == 1 && err == nil {
			break
		}
	}
	if major < least {
		return ""
	}
	return path
}

// startInstalled starts a real server with a configuration of its own in the folder.
func startInstalled(ctx context.Context, binary string, o Options) (*Server, error) {
	for _, addr := range []*string{&o.Native, &o.HTTP} {
		if *addr != "" {
			continue
		}
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		*addr = ln.Addr().String()
		_ = ln.Close() // the port is free now, and was just before
	}
	config := filepath.Join(o.Dir, "config.yaml")
	if err := writeConfig(config, o); err != nil {
		return nil, fmt.Errorf("configure ClickHouse: %w", err)
	}
	s, out, err := launch(exec.Command(binary, "server", "--config-file="+config), o) // outlives ctx
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", binary, err)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }() // a full pipe would stop it
	s.Native, s.HTTP = o.Native, o.HTTP
	if err := s.answers(ctx); err != nil {
		_ = s.Kill() // the failure before is the news
		return nil, fmt.Errorf("%s did not start: %w; see %s", binary, err, logFile(o.Dir))
	}
	return s, nil
}

func writeConfig(path string, o Options) error {
	host, native, err := net.SplitHostPort(o.Native)
	if err != nil {
		return err
	}
	_, web, err := net.SplitHostPort(o.HTTP)
	if err != nil {
		return err
	}
	text := fmt.Sprintf(`logger: {level: warning, console: true}
listen_host: %[1]q
tcp_port: %[2]s
http_port: %[3]s
path: %[4]q
user_directories: {users_xml: {path: %[5]q}}
profiles: {default: {}, readonly: {readonly: 2}}
quotas: {default: {}}
users:
  default: {password: %[6]q, networks: {ip: "::/0"}, profile: default, quota: default}
  reader: {password: %[6]q, networks: {ip: "::/0"}, profile: readonly, quota: default}
`, host, native, web, filepath.Join(o.Dir, "data")+"/", path, o.Password)
	return os.WriteFile(path, []byte(text), 0o600)
}

// answers waits until the server says over HTTP that it is there.
func (s *Server) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.HTTP+"/ping", nil)
		if err != nil {
			return err
		}
		if res, err := http.DefaultClient.Do(req); err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-s.ended:
			return errors.New("the process ended")
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

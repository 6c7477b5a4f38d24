package clickhouse

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"mailbeacon/internal/engines"
)

func logFile(dir string) string { return filepath.Join(dir, "server.log") }

// run starts a process whose errors go to the log in the folder.
func (s *Server) run(cmd *exec.Cmd) error {
	log, err := os.OpenFile(logFile(s.o.Dir), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the process has its own
	cmd.Stderr = log
	s.process, err = engines.Start(cmd, s.o.Detached)
	return err
}

// startFront builds the front and starts it with the engine's library.
func (s *Server) startFront(ctx context.Context) error {
	lib, err := provision(ctx)
	if err != nil {
		return fmt.Errorf("fetch the engine (a running server can be named by %s): %w", AddressVariable, err)
	}
	front := filepath.Join(filepath.Dir(lib), "front")
	unlock, err := engines.Lock(ctx, front+".lock")
	if err != nil {
		return err
	}
	defer unlock() // once it runs, another process may build its own
	// Neither cgo nor the race detector: their runtime and the library's don't go together.
	build := exec.CommandContext(ctx, "go", "build", "-race=false", "-o", front, "mailbeacon/internal/engines/clickhouse/front")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the front: %w: %s", err, out)
	}
	args := []string{"-lib", lib, "-dir", s.o.Dir}
	for name, value := range map[string]string{"-native": s.o.Native, "-http": s.o.HTTP, "-version": s.o.Version} {
		if value != "" {
			args = append(args, name, value)
		}
	}
	for _, set := range hostile {
		args = append(args, "-hostile", set[0]+"="+set[1])
	}
	out, in, err := os.Pipe()
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.Command(front, args...) // outlives ctx
	cmd.Env = append(os.Environ(), "FRONT_PASSWORD="+s.o.Password)
	cmd.Stdout = in
	err = s.run(cmd)
	_ = in.Close() // the process has its own
	if err != nil {
		return err
	}
	line, err := firstLine(ctx, out)
	var version string
	if err == nil {
		_, err = fmt.Sscanf(line, "ready native=%s http=%s version=%s", &s.Native, &s.HTTP, &version)
	}
	if err != nil {
		s.Kill()
		return fmt.Errorf("the front did not start: %w; see %s", err, logFile(s.o.Dir))
	}
	return nil
}

// firstLine waits for the line that says that a process is ready.
func firstLine(ctx context.Context, out *os.File) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = out.SetReadDeadline(time.Unix(1, 0)) }) // a pipe has deadlines
	defer stop()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return strings.TrimSpace(line), err
}

// leastInstalled is the oldest major version of an installed server that is used.
const leastInstalled = 26

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
	for word := range strings.FieldsSeq(string(out)) {
		major, _, dotted := strings.Cut(word, ".")
		if n, err := strconv.Atoi(major); dotted && err == nil {
			if n >= leastInstalled {
				return path
			}
			break
		}
	}
	return ""
}

// startInstalled starts a real server with a configuration of its own in the folder.
func (s *Server) startInstalled(ctx context.Context, binary string) error {
	ports, err := engines.FreePorts(2)
	if err != nil {
		return err
	}
	s.Native, s.HTTP = s.o.Native, s.o.HTTP
	for i, addr := range []*string{&s.Native, &s.HTTP} {
		if *addr == "" {
			*addr = fmt.Sprintf("127.0.0.1:%d", ports[i])
		}
	}
	path := filepath.Join(s.o.Dir, "config.yaml")
	text, err := s.config(path)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return err
	}
	cmd := exec.Command(binary, "server", "--config-file="+path) // outlives ctx
	cmd.Dir = s.o.Dir
	if err := s.run(cmd); err != nil {
		return err
	}
	if err := s.answers(ctx); err != nil {
		s.Kill()
		return fmt.Errorf("%s did not start: %w; see %s", binary, err, logFile(s.o.Dir))
	}
	return nil
}

// answers waits until the server says over HTTP that it is there.
func (s *Server) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.HTTP+"/ping", nil)
		if err != nil {
			return err
		}
		if res, err := http.DefaultClient.Do(req); err == nil {
			_, _ = io.Copy(io.Discard, res.Body) // a few bytes
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-s.process.Ended():
			return errors.Join(errors.New("the process ended"), s.process.Err())
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

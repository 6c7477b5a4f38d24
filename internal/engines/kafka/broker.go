package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"mailbeacon/internal/engines"
)

const (
	startTimeout = time.Minute
	stopTimeout  = 15 * time.Second
	startTries   = 3 // another may have taken the port meanwhile
)

// Options say how a broker is run.
type Options struct {
	// Dir is where its data and its log are: an empty folder, or that of an earlier broker. It is the
	// caller's to remove.
	Dir string
	// Secure adds a listener with TLS and one with TLS and SASL for Users.
	Secure bool
	// Detached: the broker outlives this process.
	Detached bool
	// HeapMB is the heap's size, 96 if 0.
	HeapMB int
	// Ways are more addresses, host:port, that the broker is reached by: whoever comes by Way(i) is sent back to
	// Ways[i], where a proxy may be.
	Ways []string
	// Properties are more lines of the broker's configuration.
	Properties []string

	ports []int // of PLAINTEXT, CONTROLLER, SSL and SASL_SSL, and of each way
	flags []string
}

// Broker is a broker that was started. Its methods are for one goroutine at a time.
type Broker struct {
	install *Install
	o       Options
	cert    *certificate
	process *engines.Process
}

// Start runs a broker, and returns when it answers.
func Start(ctx context.Context, o Options) (*Broker, error) {
	in, err := Find(ctx)
	if err != nil {
		return nil, err
	}
	return start(ctx, in, o)
}

func start(ctx context.Context, in *Install, o Options) (*Broker, error) {
	b := &Broker{install: in, o: o}
	if o.Secure {
		var err error
		if b.cert, err = newCertificate(); err != nil {
			return nil, err
		}
	}
	data := filepath.Join(o.Dir, "data")
	if _, err := os.Stat(data); errors.Is(err, fs.ErrNotExist) && in.template != "" {
		if err := os.CopyFS(data, os.DirFS(in.template)); err != nil {
			return nil, fmt.Errorf("start Kafka: copy a formatted folder: %w", err)
		}
	}
	for try := 1; ; try++ {
		var err error
		if b.o.ports, err = engines.FreePorts(4 + len(o.Ways)); err != nil {
			return nil, err
		}
		if err = b.Restart(ctx); err == nil {
			return b, nil
		}
		if try == startTries || ctx.Err() != nil {
			return nil, err
		}
	}
}

// Way is where the broker listens for those who come by Options.Ways[i].
func (b *Broker) Way(i int) string { return fmt.Sprintf("127.0.0.1:%d", b.o.ports[4+i]) }

// Restart starts the broker anew, on the same ports, after Kill or Stop.
func (b *Broker) Restart(ctx context.Context) error {
	conf := filepath.Join(b.o.Dir, "server.properties")
	if err := os.WriteFile(conf, []byte(b.o.properties(filepath.Join(b.o.Dir, "data"), b.cert)), 0o600); err != nil {
		return fmt.Errorf("start Kafka: %w", err)
	}
	log, err := os.OpenFile(b.logPath(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("start Kafka: %w", err)
	}
	defer log.Close()
	heap := b.o.HeapMB
	if heap == 0 {
		heap = 96
	}
	args := []string{"-cp", b.install.classPath, fmt.Sprintf("-Xmx%dm", heap), "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"}
	if len(b.o.flags) > 0 {
		args = append(args, b.o.flags...)
	} else {
		args = append(args, "-XX:SharedArchiveFile="+b.install.archive, "-Xlog:cds=off", "-Xlog:cds+dynamic=off")
	}
	cmd := exec.Command(b.install.java, append(args, "kafka.Kafka", conf)...)
	cmd.Stdout, cmd.Stderr = log, log
	if b.process, err = engines.Start(cmd, b.o.Detached); err != nil {
		return fmt.Errorf("start Kafka: %w", err)
	}
	if err := b.ready(ctx); err != nil {
		b.process.Kill()
		text, _ := os.ReadFile(b.logPath()) // what there is of it
		return fmt.Errorf("start Kafka: %w: %s", err, tail(text))
	}
	return nil
}

func (b *Broker) logPath() string { return filepath.Join(b.o.Dir, "broker.log") }

// ready waits until the broker answers.
func (b *Broker) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		err := Probe(ctx, b.Addr())
		if err == nil {
			return nil
		}
		select {
		case <-b.process.Ended():
			return fmt.Errorf("it ended: %w", errors.Join(errors.New("no answer"), b.process.Err()))
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Probe asks whether a broker answers at an address without TLS: for the versions it speaks, which every
// broker tells whoever asks.
func Probe(ctx context.Context, addr string) error {
	d := net.Dialer{Timeout: time.Second}
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return err
	}
	// Length, ApiVersions (18) in version 0, a number for the answer, no name of the client.
	if _, err := c.Write([]byte{0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff}); err != nil {
		return err
	}
	var head [10]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return err
	}
	if id, code := binary.BigEndian.Uint32(head[4:]), binary.BigEndian.Uint16(head[8:]); id != 7 || code != 0 {
		return fmt.Errorf("%s answers %d with error %d: no Kafka", addr, id, code)
	}
	return nil
}

func (b *Broker) addr(i int) string { return "127.0.0.1:" + strconv.Itoa(b.o.ports[i]) }

// Addr is the broker's address without TLS.
func (b *Broker) Addr() string { return b.addr(0) }

// TLSAddr is its address with TLS, SASLAddr the one with TLS and SASL; where Secure was set.
func (b *Broker) TLSAddr() string { return b.addr(2) }

// SASLAddr is the address with TLS and SASL.
func (b *Broker) SASLAddr() string { return b.addr(3) }

// CA is the certificate to trust, PEM.
func (b *Broker) CA() []byte { return []byte(b.cert.cert) }

// Kill ends the broker at once, as a crash would.
func (b *Broker) Kill() { b.process.Kill() }

// Stop ends the broker in order.
func (b *Broker) Stop() { b.process.Stop(stopTimeout) }

// Pause stops the broker where it stands (SIGSTOP); Resume lets it go on.
func (b *Broker) Pause() { b.process.Signal(syscall.SIGSTOP) }

// Resume lets a paused broker go on.
func (b *Broker) Resume() { b.process.Signal(syscall.SIGCONT) }

// WritePID notes the process, for EndNoted of package engines.
func (b *Broker) WritePID(path string) error { return b.process.WritePID(path) }

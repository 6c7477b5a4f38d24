//go:build linux

// Front is the ClickHouse engine as a server, for tests: libchdb.so behind the native protocol and
// HTTP, as far as clickhouse-go speaks them. It is a process of its own, so that it can be killed,
// and is built without cgo and without the race detector, whose runtime and the library's can't
// live in one process.
package main

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	if err := run(); err != nil {
		slog.Error("the engine stopped", "error", err)
		os.Exit(1)
	}
}

func run() error {
	lib := flag.String("lib", "", "libchdb.so")
	dir := flag.String("dir", "", "folder of the data")
	nativeAddr := flag.String("native", "127.0.0.1:0", "address of the native protocol")
	httpAddr := flag.String("http", "127.0.0.1:0", "address of HTTP")
	version := flag.String("version", "", "version to announce instead of the engine's own")
	hostile := map[string]string{}
	flag.Func("hostile", "NAME=VALUE, a setting of the user hostile", func(s string) error {
		name, value, ok := strings.Cut(s, "=")
		if hostile[name] = value; !ok {
			return errors.New("no value")
		}
		return nil
	})
	flag.Parse()

	if err := load(*lib); err != nil {
		return err
	}
	e, err := newEngine(*dir)
	if err != nil {
		return err
	}
	if *version != "" {
		e.version = *version
	}
	// Not flags: what is a flag, every process of the machine can read.
	password := os.Getenv("FRONT_PASSWORD")
	e.users = map[string]user{"default": {password: password}, "reader": {password: password, readonly: true}, "hostile": {password: password, profile: hostile}}
	native, err := net.Listen("tcp", *nativeAddr)
	if err != nil {
		return err
	}
	defer native.Close()
	web, err := net.Listen("tcp", *httpAddr)
	if err != nil {
		return err
	}
	go e.serveNative(native)
	server := &http.Server{Handler: e, ReadHeaderTimeout: 10 * time.Second}
	defer func() { _ = server.Close() }() // the process ends
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(web) }()

	// The one line that whoever started it waits for.
	fmt.Printf("ready native=%s http=%s version=%s\n", native.Addr(), web.Addr(), e.version)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	select {
	case <-stop:
	case err := <-failed:
		if !errors.Is(err, http.ErrServerClosed) {
			return err
		}
	}
	return nil
}

package kafka

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"mailbeacon/internal/engines"
)

// The folder of the broker that outlives the command that started it, and the files in it.
const (
	engineDir   = "kafka-running"
	pidFile     = "pid"
	addressFile = "address"
)

// Up starts a broker that runs until Down, or finds the one that runs already, and returns its
// address. Its data is below the folder, which may be an earlier broker's; an empty name is the
// engines' cache. The environment's broker is used where there is one.
func Up(ctx context.Context, folder string) (addr string, err error) {
	if addr := os.Getenv(AddressVariable); addr != "" {
		if err := Probe(ctx, addr); err != nil {
			return "", fmt.Errorf("%s names %s, which does not answer: %w", AddressVariable, addr, err)
		}
		return addr, nil
	}
	dir, err := engines.Place(folder, engineDir)
	if err != nil {
		return "", err
	}
	unlock, err := engines.Lock(ctx, dir+".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if engines.Noted(filepath.Join(dir, pidFile)) != 0 {
		b, err := os.ReadFile(filepath.Join(dir, addressFile))
		if err != nil {
			return "", fmt.Errorf("the running Kafka's address: %w", err)
		}
		return strings.TrimSpace(string(b)), nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make the folder of Kafka: %w", err)
	}
	b, err := Start(ctx, Options{Dir: dir, Detached: true, HeapMB: 512})
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, addressFile), []byte(b.Addr()+"\n"), 0o644); err != nil {
		b.Stop()
		return "", fmt.Errorf("note Kafka's address: %w", err)
	}
	if err := b.WritePID(filepath.Join(dir, pidFile)); err != nil {
		b.Stop()
		return "", err
	}
	return b.Addr(), nil
}

// Down ends the broker that Up started in the same folder, if it runs. In the engines' cache its data
// goes with it; a folder with a name is the caller's.
func Down(folder string) error {
	dir, err := engines.Place(folder, engineDir)
	if err != nil {
		return err
	}
	if err := engines.EndNoted(filepath.Join(dir, pidFile), stopTimeout); err != nil || folder != "" {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove Kafka's folder: %w", err)
	}
	return nil
}

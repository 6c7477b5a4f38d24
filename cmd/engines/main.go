// Command engines starts the engines that a cluster of mailbeacon needs, on loopback, prints the settings to
// use them with, and ends them. `make engines` and `make engines-stop` call it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"mailbeacon/internal/engines/clickhouse"
	"mailbeacon/internal/engines/kafka"
)

// engine is one of the engines.
type engine struct {
	name string
	// up starts it, or finds it running, with its data below a folder, and returns its address.
	up func(ctx context.Context, folder string) (addr string, err error)
	// down ends what up started in the folder.
	down func(folder string) error
	// settings are the lines of the environment that tell mailbeacon and its tests of the address.
	settings func(addr, folder string) []string
}

var all = []engine{
	{"Kafka", kafka.Up, kafka.Down, func(addr, _ string) []string {
		return []string{"MAILBEACON_KAFKA=kafka://" + addr, kafka.AddressVariable + "=" + addr}
	}},
	{"ClickHouse", clickhouse.Up, clickhouse.Down, clickhouse.Settings},
}

const usage = `usage: engines up|down|env [FOLDER]
  up    start the engines and print the settings
  env   the same, as commands for a shell: eval "$(go run ./cmd/engines env)"
  down  end the engines and remove their data
With a FOLDER their data is in it, and stays there: the next up goes on with it.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	command, folder := "", ""
	if len(os.Args) == 2 || len(os.Args) == 3 {
		command = os.Args[1]
		folder = strings.Join(os.Args[2:], "")
	}
	var err error
	switch command {
	case "up":
		err = up(ctx, folder, "")
	case "env":
		err = up(ctx, folder, "export ")
	case "down":
		err = down(folder)
	default:
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "engines:", err)
		os.Exit(1)
	}
}

// up starts all engines, and prints a line for each setting.
func up(ctx context.Context, folder, prefix string) error {
	for _, e := range all {
		addr, err := e.up(ctx, folder)
		if err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
		for _, line := range e.settings(addr, folder) {
			fmt.Printf("%s%s\n", prefix, line)
		}
	}
	return nil
}

// down ends all engines, whatever happens with one of them.
func down(folder string) error {
	var failed []error
	for _, e := range all {
		if err := e.down(folder); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", e.name, err))
		}
	}
	return errors.Join(failed...)
}

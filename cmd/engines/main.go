// Command engines starts the engines that a cluster of mailbeacon needs, on loopback, prints the settings to
// use them with, and ends them. `make engines` and `make engines-stop` call it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"mailbeacon/internal/engines/kafka"
)

// engine is one of the engines.
type engine struct {
	name string
	// up starts it, or finds it running, and returns its address.
	up func(ctx context.Context) (addr string, err error)
	// down ends what up started.
	down func() error
	// settings tell mailbeacon and its tests of the address.
	settings []setting
}

// setting is a variable, and its value with %s for the address.
type setting struct{ name, value string }

var all = []engine{
	{"Kafka", kafka.Up, kafka.Down, []setting{{"MAILBEACON_KAFKA", "%s"}, {kafka.AddressVariable, "%s"}}},
}

const usage = `usage: engines up|down|env
  up    start the engines and print the settings
  env   the same, as commands for a shell: eval "$(go run ./cmd/engines env)"
  down  end the engines and remove their data
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	command := ""
	if len(os.Args) == 2 {
		command = os.Args[1]
	}
	var err error
	switch command {
	case "up":
		err = up(ctx, "")
	case "env":
		err = up(ctx, "export ")
	case "down":
		err = down()
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
func up(ctx context.Context, prefix string) error {
	for _, e := range all {
		addr, err := e.up(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
		for _, s := range e.settings {
			fmt.Printf("%s%s=%s\n", prefix, s.name, fmt.Sprintf(s.value, addr))
		}
	}
	return nil
}

// down ends all engines, whatever happens with one of them.
func down() error {
	var failed []error
	for _, e := range all {
		if err := e.down(); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", e.name, err))
		}
	}
	return errors.Join(failed...)
}

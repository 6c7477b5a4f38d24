package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"

	"mailbeacon/ingest/kafka"
	"mailbeacon/internal/api"
	"mailbeacon/internal/client"
	"mailbeacon/internal/config"
	"mailbeacon/internal/consent"
	"mailbeacon/internal/datadir"
	"mailbeacon/internal/token"
)

// Files of a role's data folder, besides those of serve.
const (
	roleFile       = "ROLE"
	cursorFile     = "shipped.cursor"
	topicFile      = "events.topic"
	quarantineFile = "quarantine"
)

// roleCommand is a command that runs a role of a cluster until it is told to stop.
func roleCommand(role config.Role, short, long, example string, run func(context.Context, *config.Config) error) *cobra.Command {
	cmd := &cobra.Command{
		Use: string(role), Short: short, Example: example, Args: cobra.NoArgs,
		Long: long + `

Each setting can also be a variable (MAILBEACON_KAFKA for --kafka, where no list of processes shows a
password) or a key in the YAML file that --config names. SIGTERM or SIGINT stops it in order, within a bound
(--stop-timeout); a second one ends it at once.`,
	}
	config.Flags(cmd.Flags(), role)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := config.Load(cmd.Flags(), os.Environ(), role)
		if err != nil {
			return usage(err)
		}
		ctx, release := untilTold(cmd.Context(), cmd.ErrOrStderr())
		defer release()
		return run(ctx, cfg)
	}
	return cmd
}

// openFolder opens a role's own data folder, and refuses another role's.
func openFolder(path string, role config.Role) (*datadir.Dir, error) {
	dir, err := datadir.Open(path)
	if err != nil {
		return nil, err
	}
	was, err := os.ReadFile(dir.Path(roleFile))
	switch {
	case errors.Is(err, os.ErrNotExist) && !dir.Fresh():
		err = fmt.Errorf("data folder %s belongs to mailbeacon serve; each role needs one of its own (--data)", path)
		if _, serr := os.Lstat(dir.Path(countsFile)); errors.Is(serr, os.ErrNotExist) {
			err = nil // a first start that was cut short
		}
	case err == nil && strings.TrimSpace(string(was)) != string(role):
		err = fmt.Errorf("data folder %s belongs to mailbeacon %s; each role needs one of its own (--data)", path, strings.TrimSpace(string(was)))
	case errors.Is(err, os.ErrNotExist):
		err = nil
	}
	if err == nil && was == nil {
		err = datadir.WriteFile(dir.Path(roleFile), []byte(role+"\n"), 0o600)
	}
	if err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return dir, nil
}

func newKafka(cfg *config.Config, role config.Role) (*kafka.Client, error) {
	c, err := kafka.Parse(cfg.Kafka)
	if err != nil {
		return nil, err
	}
	c.ClientID = "mailbeacon-" + string(role)
	return kafka.NewClient(c)
}

func eventsTopic(cfg *config.Config, partitions int) kafka.TopicSpec {
	return kafka.EventsTopic(cfg.Topics+".events", partitions, cfg.Replicas, 0)
}

func controlTopic(cfg *config.Config) kafka.TopicSpec {
	return kafka.ControlTopic(cfg.Topics+".control", cfg.Replicas)
}

// topicOf checks a topic, or makes it where the role may. An error begins with the setting that it is
// about.
func topicOf(ctx context.Context, k *kafka.Client, cfg *config.Config, spec kafka.TopicSpec,
	how func(context.Context, kafka.TopicSpec) (kafka.Topic, error)) (kafka.Topic, error) {
	if err := k.Check(ctx); err != nil {
		return kafka.Topic{}, fmt.Errorf("setting kafka: %w", err)
	}
	t, err := how(ctx, spec)
	wrong, ok := errors.AsType[*kafka.SettingError](err)
	switch {
	case ok && wrong.Setting == "partitions":
		err = fmt.Errorf("setting partitions: %w", err)
	case err != nil:
		err = fmt.Errorf("setting topics (%s): %w", cfg.Topics, err)
	}
	return t, err
}

// followKafka is the control log of a cluster, as far as this role's snapshot knows it. late is nil but for an edge.
func followKafka(k *kafka.Client, dir *datadir.Dir, cfg *config.Config, late *consent.Late, logger *slog.Logger) (*state, error) {
	log := kafka.OpenControlLog(k, controlTopic(cfg).Name, logger)
	s, err := follow(log, dir, cfg, late, logger)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the control log: %w", err), log.Close())
	}
	s.consent.Remember(remembered)
	s.consentWriter = s.consentWriter.Compacted()
	return s, nil
}

// remembered is how many choices are known with who brought them, so that whoever says them again is not looked for.
const remembered = 1 << 15

// openSharedKeys reads the keyring that all edges and admins have.
func openSharedKeys(cfg *config.Config) (*token.Ring, error) {
	ring, err := token.OpenRing(cfg.Keyring)
	if err != nil {
		return nil, fmt.Errorf("setting keyring: %w", err)
	}
	return ring, nil
}

// serveStatus is the private side of a role without an API.
func serveStatus(reg *prometheus.Registry, notReady func() []string) *api.Server {
	return api.NewServer(api.NewStatus(notReady, promhttp.HandlerFor(reg, promhttp.HandlerOpts{})))
}

// listenPrivate opens the private side and leaves its address in the data folder.
func listenPrivate(ctx context.Context, cfg *config.Config, dir *datadir.Dir, logger *slog.Logger) (net.Listener, error) {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.Admin)
	if err != nil {
		return nil, fmt.Errorf("setting admin: %w", err)
	}
	if err := leavePrivate(dir, ln.Addr(), logger); err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	return ln, nil
}

// leavePrivate leaves the private side's address in the data folder for commands on this machine, and leavePublic the
// public side's. A full disk keeps nobody from serving: whoever asks must say where.
func leavePrivate(dir *datadir.Dir, addr net.Addr, logger *slog.Logger) error {
	left, err := client.WriteAddr(dir.Root(), addr)
	warnNotLeft(left, err, client.AddrFile, logger)
	return err
}

func leavePublic(dir *datadir.Dir, addr net.Addr, logger *slog.Logger) error {
	left, err := datadir.Hint(dir.Path(edgeAddrFile), []byte(addr.String()+"\n"), 0o600)
	warnNotLeft(left, err, edgeAddrFile, logger)
	return err
}

func warnNotLeft(left bool, err error, name string, logger *slog.Logger) {
	if !left && err == nil {
		logger.Warn("the disk is full: the data folder does not tell the address", "file", name)
	}
}

// stopStatus ends the private side last of all, so that a stop can be watched.
func stopStatus(s *api.Server, cfg *config.Config) error {
	bound, cancel := context.WithTimeout(context.Background(), cfg.StopTimeout)
	defer cancel()
	return s.Shutdown(bound)
}

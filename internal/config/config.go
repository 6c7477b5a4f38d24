// Package config is what an operator can set: one table of settings, read from flags, then from
// MAILBEACON_* variables, then from a YAML file. A setting that is wrong or unknown stops the start
// with its name, where it came from, and what would be right.
package config

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"mailbeacon/internal/consent"
	"mailbeacon/internal/privacy"
)

// Role is a part of the whole that a process plays; each has settings of its own.
type Role string

const (
	Serve   Role = "serve"   // everything in one process
	Edge    Role = "edge"    // answers mail readers, and ships to Kafka
	Consume Role = "consume" // counts what comes from Kafka, in ClickHouse
	Admin   Role = "admin"   // the API
)

// Config is what a role runs with, every value checked. What is not a setting of the role has its
// default.
type Config struct {
	Data   string // the data folder
	Listen string // host:port of the public side; an empty host is every address
	Admin  string // host:port of the private side
	// PublicURL is the scheme and host that mail carries, without a slash at its end. Empty where it
	// was not set: LocalURL of the public listener is meant then.
	PublicURL     string
	Webhook       string // URL, empty for none
	WebhookSecret string // file
	ExportFolder  string // empty for none
	ExportEvery   time.Duration
	Epoch         time.Duration   // of what advertisers are told
	Epsilon       privacy.Epsilon // of each number that they are told
	Budget        int             // of all of a year
	// DashboardURL is like PublicURL, of the private side.
	DashboardURL     string
	OIDCIssuer       string // URL, empty for none
	OIDCClientID     string
	OIDCClientSecret string // file, empty for none
	OIDCRoleClaim    string
	OIDCRoles        string // see oidc.ParseRoles
	OIDCNameClaim    string
	Basis            consent.Basis
	ClassifyWindow   time.Duration
	CommitInterval   time.Duration
	HeldBytes        int64
	SegmentBytes     int64
	TrustedProxies   []netip.Prefix
	AppleEgress      string // file, empty for none
	DataCentres      string // file, empty for none
	PreferencePage   string // folder, empty for none
	MaxConns         int
	MaxConnsPerIP    int
	StopTimeout      time.Duration
	LogFormat        LogFormat
	LogLevel         slog.Level

	Kafka      string // where the brokers are, see kafka.Parse
	ClickHouse string // where the store is, see clickhouse.Parse
	Keyring    string // file
	Topics     string // prefix of the topics' names
	Partitions int    // of the events' topic; 0 takes what it has
	Replicas   int    // of the topics; 0 is the brokers' default
	Group      string // of the consumers
	Compress   string // of events on their way
}

// LogFormat is the form of log lines.
type LogFormat string

const (
	LogText LogFormat = "text"
	LogJSON LogFormat = "json"
)

// Error is a setting that can't be used.
type Error struct {
	Setting string // as in the table: "classify-window"; for an unknown one, what was written
	Source  string // "--classify-window", "MAILBEACON_CLASSIFY_WINDOW", "beacon.yaml, line 3"
	Reason  string // what is wrong, and what would be right
}

func (e *Error) Error() string {
	if e.Setting == e.Source || "--"+e.Setting == e.Source {
		return fmt.Sprintf("setting %s %s", e.Source, e.Reason)
	}
	return fmt.Sprintf("setting %s (from %s) %s", e.Setting, e.Source, e.Reason)
}

// configFlag names the file; it is a flag and a variable, and no setting of the file itself.
const configFlag = "config"

// Flags adds a flag for every setting of a role, and --config, to fs.
func Flags(fs *pflag.FlagSet, role Role) {
	for i := range settings {
		s := &settings[i]
		if !s.of(role) {
			continue
		}
		fs.Var(&flagValue{text: s.Default, kind: s.Kind}, s.Name, s.Doc)
	}
	fs.Var(&flagValue{kind: "FILE"}, configFlag, "read settings from a YAML file; flags and variables come before it")
}

// FlagsOf adds flags for some of the settings, by their names, and --config, to fs: of a command that shares them with the roles.
// Load reads them with no role, so that none is needed.
func FlagsOf(fs *pflag.FlagSet, names ...string) {
	for i := range settings {
		if s := &settings[i]; slices.Contains(names, s.Name) {
			fs.Var(&flagValue{text: s.Default, kind: s.Kind}, s.Name, s.Doc)
		}
	}
	fs.Var(&flagValue{kind: "FILE"}, configFlag, "read settings from a YAML file; flags and variables come before it")
}

// flagValue is a flag's text as it was given; the table reads it later, together with the other
// sources, so that all of them fail in the same words.
type flagValue struct{ text, kind string }

func (v *flagValue) String() string     { return v.text }
func (v *flagValue) Set(s string) error { v.text = s; return nil }
func (v *flagValue) Type() string       { return v.kind }

// given is a setting's text and where it came from.
type given struct{ text, source string }

// Load reads the settings of a role: defaults, below the file that --config or MAILBEACON_CONFIG names, below
// the environment ("NAME=value" each, as os.Environ returns it), below the flags that were given.
// fs is one that Flags was called on, after parsing. What other roles have may stand in the file and
// the environment, which roles may share; it is checked, too. The error is an *Error, or of the file.
func Load(fs *pflag.FlagSet, environ []string, role Role) (*Config, error) {
	fromEnv, file, err := readEnviron(environ)
	if err != nil {
		return nil, err
	}
	if f := fs.Lookup(configFlag); f != nil && f.Changed {
		file = f.Value.String()
		if file == "" {
			return nil, &Error{configFlag, "--config", "is empty; right would be the name of a YAML file"}
		}
	}
	fromFile := map[string]given{}
	if file != "" {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read the settings: %w", err)
		}
		if fromFile, err = readYAML(file, content); err != nil {
			return nil, err
		}
	}
	c := &Config{}
	for i := range settings {
		s := &settings[i]
		value := given{s.Default, "its default"}
		if v, ok := fromFile[s.Name]; ok {
			value = v
		}
		if v, ok := fromEnv[s.Name]; ok {
			value = v
		}
		if f := fs.Lookup(s.Name); f != nil && f.Changed {
			value = given{f.Value.String(), "--" + s.Name}
		}
		text := value.text
		if text == "" && s.needed && s.of(role) {
			return nil, &Error{s.Name, "--" + s.Name, "is not set; mailbeacon " + string(role) + " needs it: " + s.Doc}
		}
		if reason := s.apply(c, text); reason != "" {
			return nil, &Error{s.Name, value.source, reason}
		}
	}
	return c, nil
}

// envPrefix starts every variable of ours.
const envPrefix = "MAILBEACON_"

// testPrefix starts the variables that tell the tests where engines are.
const testPrefix = envPrefix + "TEST_"

// otherVariables belong to the client commands and to the test engines; a shell that talks to a server,
// or started engines, may start a server too.
var otherVariables = []string{"MAILBEACON_SERVER", "MAILBEACON_KEY", "MAILBEACON_ENGINES"}

func readEnviron(environ []string) (values map[string]given, file string, err error) {
	values = map[string]given{}
	for _, kv := range environ {
		name, text, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(name, envPrefix) || slices.Contains(otherVariables, name) || strings.HasPrefix(name, testPrefix) || isServiceLink(name, text) {
			continue
		}
		if name == envPrefix+"CONFIG" {
			file = text
			continue
		}
		s := find(func(s *Setting) bool { return s.Env() == name })
		if s == nil {
			return nil, "", &Error{name, name, "is unknown" + suggest(name, (*Setting).Env)}
		}
		values[s.Name] = given{text, name}
	}
	return values, file, nil
}

// isServiceLink knows the variables that Kubernetes adds to every container for a service that is
// named like the product: nobody set them on purpose.
func isServiceLink(name, text string) bool {
	rest := strings.TrimPrefix(name, envPrefix)
	return rest == "SERVICE_HOST" || strings.HasPrefix(rest, "SERVICE_PORT") ||
		rest == "PORT" && strings.Contains(text, "://") ||
		strings.HasPrefix(rest, "PORT_") && (strings.Contains(rest, "_TCP") || strings.Contains(rest, "_UDP"))
}

func find(is func(*Setting) bool) *Setting {
	for i := range settings {
		if is(&settings[i]) {
			return &settings[i]
		}
	}
	return nil
}

// suggest names the known setting that is nearest to an unknown one.
func suggest(unknown string, nameOf func(*Setting) string) string {
	best, least := "", len(unknown)/3+2
	for i := range settings {
		name := nameOf(&settings[i])
		if d := distance(unknown, name); d < least {
			best, least = name, d
		}
	}
	if best == "" {
		return "; `mailbeacon serve --help` lists what can be set"
	}
	return "; did you mean " + best + "?"
}

// distance is the number of letters to change, add or leave out between two words.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

package config

import (
	"fmt"
	"log/slog"
	"strings"
	"time"

	"mailbeacon/internal/consent"
)

// Setting is one row of the table.
type Setting struct {
	Name    string // flag and key in the file; the variable's name follows from it
	Kind    string // what its value is, for --help: "DURATION"
	Default string // in the form in which it is written; empty for unset
	Doc     string // one sentence, no full stop
	// apply checks a value and puts it into s; it returns what is wrong and what would be right, to
	// be read after the setting's name, or nothing.
	apply func(s *Serve, text string) (reason string)
}

// Env is the variable's name.
func (s *Setting) Env() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(s.Name, "-", "_"))
}

var settings = []Setting{
	{"data", "DIR", "mailbeacon-data", "folder that holds keys, events and counts; made at the first start", func(s *Serve, v string) string {
		return text(&s.Data, v, "the name of a folder")
	}},
	{"listen", "ADDRESS", ":8080", "address of the public side, where mail readers come", func(s *Serve, v string) string {
		return address(&s.Listen, v)
	}},
	{"admin", "ADDRESS", "127.0.0.1:8081", "address of the private side: API and metrics, without TLS, so keep it off public networks", func(s *Serve, v string) string {
		return address(&s.Admin, v)
	}},
	{"public-url", "URL", "", "scheme and host that mail carries, as https://t.example.com; unset: this machine, for trying things out", func(s *Serve, v string) string {
		return publicURL(&s.PublicURL, v)
	}},
	{"basis", "WORD", "subject", "what holds for people who said nothing: subject (measured), aggregate (counted without a person) or none (not measured)", func(s *Serve, v string) string {
		b, err := consent.ParseBasis(v)
		if err != nil || v == "" {
			return fmt.Sprintf("is %q; right would be subject, aggregate or none", v)
		}
		s.Basis = b
		return ""
	}},
	{"classify-window", "DURATION", "15s", "how long events are held back so that bursts of machines are recognised; 0s judges each event alone", func(s *Serve, v string) string {
		return duration(&s.ClassifyWindow, v, 0, 10*time.Minute)
	}},
	{"commit-interval", "DURATION", "1s", "how often counts are written to the store", func(s *Serve, v string) string {
		return duration(&s.CommitInterval, v, 10*time.Millisecond, time.Minute)
	}},
	{"segment-bytes", "SIZE", "8MiB", "size of a file of the write-ahead log, 64KiB to 1GiB", func(s *Serve, v string) string {
		return size(&s.SegmentBytes, v, 64<<10, 1<<30)
	}},
	{"trusted-proxies", "NETWORKS", "", "networks of reverse proxies whose forwarded addresses are believed, with commas between: 10.0.0.0/8,2001:db8::/32", func(s *Serve, v string) string {
		return networks(&s.TrustedProxies, v)
	}},
	{"apple-egress", "FILE", "", "Apple's published list of egress addresses (CSV), to tell mail privacy prefetch for certain", func(s *Serve, v string) string {
		return file(&s.AppleEgress, v)
	}},
	{"data-centres", "FILE", "", "networks of data centres, one per line, to help to tell scanners", func(s *Serve, v string) string {
		return file(&s.DataCentres, v)
	}},
	{"max-conns", "NUMBER", "16384", "open connections on the public side; beyond that, 503", func(s *Serve, v string) string {
		return number(&s.MaxConns, v, 1, 1<<20)
	}},
	{"max-conns-per-ip", "NUMBER", "1024", "open connections of one address (IPv6: one /64) on the public side; beyond that, 429", func(s *Serve, v string) string {
		return number(&s.MaxConnsPerIP, v, 1, 1<<20)
	}},
	{"stop-timeout", "DURATION", "10s", "how long a stop waits for what was begun", func(s *Serve, v string) string {
		return duration(&s.StopTimeout, v, 100*time.Millisecond, 10*time.Minute)
	}},
	{"log-format", "WORD", "text", "form of log lines: text or json", func(s *Serve, v string) string {
		s.LogFormat = LogFormat(v)
		return oneOf(v, string(LogText), string(LogJSON))
	}},
	{"log-level", "WORD", "info", "least level that is logged: debug, info, warn or error", func(s *Serve, v string) string {
		levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
		s.LogLevel = levels[v]
		return oneOf(v, "debug", "info", "warn", "error")
	}},
}

// Settings is a copy of the table, in the order in which it should be shown.
func Settings() []Setting { return append([]Setting(nil), settings...) }

// Doc is the table in Markdown.
func Doc() string {
	var b strings.Builder
	b.WriteString("| flag, key in the file | variable | default | |\n|---|---|---|---|\n")
	for i := range settings {
		s := &settings[i]
		def := "unset"
		if s.Default != "" {
			def = "`" + s.Default + "`"
		}
		fmt.Fprintf(&b, "| `--%s %s` | `%s` | %s | %s |\n", s.Name, s.Kind, s.Env(), def, strings.ReplaceAll(s.Doc, "|", `\|`))
	}
	fmt.Fprintf(&b, "| `--%s FILE` | `%sCONFIG` | unset | a YAML file with the same names as keys |\n", configFlag, envPrefix)
	return b.String()
}

package config

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"mailbeacon/internal/consent"
	"mailbeacon/internal/privacy"
)

// Setting is one row of the table.
type Setting struct {
	Name    string // flag and key in the file; the variable's name follows from it
	Kind    string // what its value is, for --help: "DURATION"
	Default string // in the form in which it is written; empty for unset
	Doc     string // one sentence, no full stop
	// apply checks a value and puts it into s; it returns what is wrong and what would be right, to
	// be read after the setting's name, or nothing.
	apply func(s *Config, text string) (reason string)
	// roles are those that have it; none is all.
	roles []Role
	// needed: a role that has it does not start without.
	needed bool
}

func (s *Setting) of(role Role) bool { return len(s.roles) == 0 || slices.Contains(s.roles, role) }

// Sets of roles.
var (
	public  = []Role{Serve, Edge}
	counts  = []Role{Serve, Consume}
	sends   = []Role{Serve, Admin}
	cluster = []Role{Edge, Consume, Admin}
)

// Env is the variable's name.
func (s *Setting) Env() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(s.Name, "-", "_"))
}

var settings = []Setting{
	{"data", "DIR", "mailbeacon-data", "folder that holds keys, events and counts; made at the first start", func(s *Config, v string) string {
		return text(&s.Data, v, "the name of a folder")
	}, nil, false},
	{"listen", "ADDRESS", ":8080", "address of the public side, where mail readers come", func(s *Config, v string) string {
		return address(&s.Listen, v)
	}, public, false},
	{"admin", "ADDRESS", "127.0.0.1:8081", "address of the private side: API and metrics, without TLS, so keep it off public networks", func(s *Config, v string) string {
		return address(&s.Admin, v)
	}, nil, false},
	{"public-url", "URL", "", "scheme and host that mail carries, as https://t.example.com; unset: this machine, for trying things out", func(s *Config, v string) string {
		return publicURL(&s.PublicURL, v)
	}, sends, false},
	{"webhook", "URL", "", "where unsubscribes are told to, https (http on this machine only); unset: nowhere", func(s *Config, v string) string {
		return webhookURL(&s.Webhook, v)
	}, sends, false},
	{"export-folder", "DIR", "", "folder that reports are written to, as CSV and JSON; unset: nowhere", func(s *Config, v string) string {
		return folder(&s.ExportFolder, v)
	}, sends, false},
	{"export-every", "DURATION", "24h", "how often reports are written to --export-folder, counted from midnight UTC", func(s *Config, v string) string {
		return duration(&s.ExportEvery, v, time.Minute, 7*24*time.Hour)
	}, sends, false},
	{"advertiser-epoch", "DURATION", "168h", "how often numbers are released to advertisers; 168h are weeks that begin on Mondays, 00:00 UTC. The same for every admin", func(s *Config, v string) string {
		if reason := duration(&s.Epoch, v, time.Second, 366*24*time.Hour); reason != "" || s.Epoch%time.Second == 0 {
			return reason
		}
		return fmt.Sprintf("is %s; right would be whole seconds", v)
	}, sends, false},
	{"advertiser-epsilon", "NUMBER", "1", "what each number that is released to an advertiser may tell of one person (ε), as 1, 1/2 or 0.25; less is more noise. The same for every admin", func(s *Config, v string) string {
		e, err := privacy.ParseEpsilon(v)
		if err != nil {
			return fmt.Sprintf("is %q; right would be a number above 0, at most 10, as 1, 1/2 or 0.25", v)
		}
		s.Epsilon = e
		return ""
	}, sends, false},
	{"advertiser-budget", "NUMBER", "208", "what all numbers released to one advertiser in a calendar year may cost, in ε; beyond it they wait. 208 is a campaign a week, each in four epochs. The same for every admin", func(s *Config, v string) string {
		return number(&s.Budget, v, 1, 1_000_000)
	}, sends, false},
	{"webhook-secret", "FILE", "", "what the webhook is signed with: whsec_ and 24 to 64 bytes in base64", func(s *Config, v string) string {
		return file(&s.WebhookSecret, v)
	}, sends, false},
	{"dashboard-url", "URL", "", "scheme and host by which people reach the dashboard, where a proxy with TLS stands before the private side; unset: the private side's own address", func(s *Config, v string) string {
		return publicURL(&s.DashboardURL, v)
	}, sends, false},
	{"oidc-issuer", "URL", "", "provider of OpenID Connect that people sign in to the dashboard by, https (http on this machine only); unset: keys and one-time links only", func(s *Config, v string) string {
		return issuer(&s.OIDCIssuer, v)
	}, sends, false},
	{"oidc-client-id", "ID", "", "what the provider calls the dashboard", func(s *Config, v string) string {
		s.OIDCClientID = v
		return ""
	}, sends, false},
	{"oidc-client-secret-file", "FILE", "", "the secret that goes with it, for its owner only (0600); unset: a client without a secret", func(s *Config, v string) string {
		return file(&s.OIDCClientSecret, v)
	}, sends, false},
	{"oidc-role-claim", "NAME", "groups", "the claim whose values say what somebody may see", func(s *Config, v string) string {
		return text(&s.OIDCRoleClaim, v, "a claim's name")
	}, sends, false},
	{"oidc-roles", "VALUES", "", "which value of it gives which role, the most important first: staff=admin,news=marketer,acme=advertiser:acme-shoes; who has none does not come in", func(s *Config, v string) string {
		s.OIDCRoles = v // what roles there are, the API knows
		return ""
	}, sends, false},
	{"oidc-name-claim", "NAME", "preferred_username", "the claim that people are called by in the audit log; who has none, or one with an @, is called by a pseudonym", func(s *Config, v string) string {
		return text(&s.OIDCNameClaim, v, "a claim's name")
	}, sends, false},
	{"basis", "WORD", "subject", "what holds for people who said nothing: subject (measured), aggregate (counted without a person) or none (not measured)", func(s *Config, v string) string {
		b, err := consent.ParseBasis(v)
		if err != nil || v == "" {
			return fmt.Sprintf("is %q; right would be subject, aggregate or none", v)
		}
		s.Basis = b
		return ""
	}, nil, false},
	{"classify-window", "DURATION", "15s", "how long events are held back so that bursts of machines are recognised; 0s judges each event alone", func(s *Config, v string) string {
		return duration(&s.ClassifyWindow, v, 0, 10*time.Minute)
	}, counts, false},
	{"commit-interval", "DURATION", "1s", "how often counts are written to the store", func(s *Config, v string) string {
		return duration(&s.CommitInterval, v, 10*time.Millisecond, time.Minute)
	}, counts, false},
	{"held-bytes", "SIZE", "512MiB", "memory for the events that are held back for their class, 16MiB to 64GiB; beyond it reading waits", func(s *Config, v string) string {
		return size(&s.HeldBytes, v, 16<<20, 64<<30)
	}, counts, false},
	{"segment-bytes", "SIZE", "8MiB", "size of a file of the write-ahead log, 64KiB to 1GiB", func(s *Config, v string) string {
		return size(&s.SegmentBytes, v, 64<<10, 1<<30)
	}, public, false},
	{"trusted-proxies", "NETWORKS", "", "networks of reverse proxies whose forwarded addresses are believed, with commas between: 10.0.0.0/8,2001:db8::/32", func(s *Config, v string) string {
		return networks(&s.TrustedProxies, v)
	}, public, false},
	{"apple-egress", "FILE", "", "Apple's published list of egress addresses (CSV), to tell mail privacy prefetch for certain", func(s *Config, v string) string {
		return file(&s.AppleEgress, v)
	}, public, false},
	{"data-centres", "FILE", "", "networks of data centres, one per line, to help to tell scanners", func(s *Config, v string) string {
		return file(&s.DataCentres, v)
	}, public, false},
	{"preference-page", "DIR", "", "folder with the operator's own templates, texts and logo for the preference page and that of dead links; unset: those of the program", func(s *Config, v string) string {
		return folder(&s.PreferencePage, v)
	}, public, false},
	{"max-conns", "NUMBER", "16384", "open connections on the public side; beyond that, 503", func(s *Config, v string) string {
		return number(&s.MaxConns, v, 1, 1<<20)
	}, public, false},
	{"max-conns-per-ip", "NUMBER", "1024", "open connections of one address (IPv6: one /64) on the public side; beyond that, 429", func(s *Config, v string) string {
		return number(&s.MaxConnsPerIP, v, 1, 1<<20)
	}, public, false},
	{"stop-timeout", "DURATION", "10s", "how long a stop waits for what was begun", func(s *Config, v string) string {
		return duration(&s.StopTimeout, v, 100*time.Millisecond, 10*time.Minute)
	}, nil, false},
	{"log-format", "WORD", "text", "form of log lines: text or json", func(s *Config, v string) string {
		s.LogFormat = LogFormat(v)
		return oneOf(v, string(LogText), string(LogJSON))
	}, nil, false},
	{"log-level", "WORD", "info", "least level that is logged: debug, info, warn or error", func(s *Config, v string) string {
		levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
		s.LogLevel = levels[v]
		return oneOf(v, "debug", "info", "warn", "error")
	}, nil, false},
	{"kafka", "URL", "", "where the brokers are, as kafka://HOST:PORT,HOST:PORT; README.md has the parameters for TLS and passwords", func(s *Config, v string) string {
		s.Kafka = v
		return ""
	}, cluster, true},
	{"clickhouse", "URL", "", "where the store is, as clickhouse://USER:PASSWORD@HOST:PORT/DATABASE", func(s *Config, v string) string {
		s.ClickHouse = v
		return ""
	}, []Role{Consume, Admin}, true},
	{"keyring", "FILE", "", "the keys of tokens and people's numbers, the same for every edge and admin", func(s *Config, v string) string {
		return file(&s.Keyring, v)
	}, []Role{Edge, Admin}, true},
	{"topics", "NAME", "mailbeacon", "how the names of the topics begin: NAME.events, NAME.control and NAME.echo", func(s *Config, v string) string {
		return topic(&s.Topics, v)
	}, cluster, false},
	{"partitions", "NUMBER", "12", "partitions of the events' topic, which admin makes", func(s *Config, v string) string {
		return number(&s.Partitions, v, 1, 1<<10)
	}, []Role{Admin}, false},
	{"replicas", "NUMBER", "0", "brokers that hold each partition of the topics that admin makes; 0 is the brokers' default", func(s *Config, v string) string {
		return number(&s.Replicas, v, 0, 1<<7)
	}, []Role{Admin}, false},
	{"group", "NAME", "mailbeacon", "the consumers' group, whose members divide the partitions", func(s *Config, v string) string {
		return topic(&s.Group, v)
	}, []Role{Consume}, false},
	{"compression", "WORD", "lz4", "how events are compressed on their way: none, snappy, lz4 or zstd", func(s *Config, v string) string {
		s.Compress = v
		return oneOf(v, "none", "snappy", "lz4", "zstd")
	}, []Role{Edge}, false},
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
		who := ""
		for _, r := range s.roles {
			who += ", " + string(r)
		}
		if who != "" {
			who = " (" + who[2:] + ")"
		}
		fmt.Fprintf(&b, "| `--%s %s` | `%s` | %s | %s%s |\n", s.Name, s.Kind, s.Env(), def, strings.ReplaceAll(s.Doc, "|", `\|`), who)
	}
	fmt.Fprintf(&b, "| `--%s FILE` | `%sCONFIG` | unset | a YAML file with the same names as keys |\n", configFlag, envPrefix)
	return b.String()
}

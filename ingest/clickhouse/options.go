package clickhouse

import (
	"crypto/tls"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"mailbeacon/internal/dsn"
)

// Setting is the name of the setting that a store is configured by; errors name it.
const Setting = "--clickhouse"

// Options say where the store is and how it is reached.
type Options struct {
	// Addr are the servers, host:port. The first that answers is used; all of them must hold the
	// same data.
	Addr []string
	// HTTP: speak HTTP instead of the native protocol.
	HTTP bool
	// TLS: nil is plain text.
	TLS *tls.Config
	// Database holds the store's tables, and must not be the server's default one.
	Database string
	User     string
	Password string
	// Replicated: the tables are copied to every server of a cluster, and a commit is acknowledged
	// when the majority has it.
	Replicated bool
	// Cluster is the name under which the servers know each other: migrations run on all of it.
	// Empty: each server is migrated by itself.
	Cluster string
	// DialTimeout is how long a connection may take, 5 s if it is 0. ReadTimeout is how long a server
	// may be silent, 30 s if it is 0; after that the outcome of a commit is unknown.
	DialTimeout, ReadTimeout time.Duration
}

const (
	defaultDialTimeout = 5 * time.Second
	defaultReadTimeout = 30 * time.Second
)

// schemes are the forms of the setting; http and https speak HTTP.
var schemes = []dsn.Scheme{
	{Name: "clickhouse", Port: "9000"},
	{Name: "clickhouses", TLS: true, Port: "9440"},
	{Name: "http", Port: "8123"},
	{Name: "https", TLS: true, Port: "8443"},
}

func speaksHTTP(scheme string) bool { return strings.HasPrefix(scheme, "http") }

var databaseName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,63}$`)

// Parse reads the setting:
//
//	clickhouse://USER:PASSWORD@HOST:PORT,HOST:PORT/DATABASE?replicated=true&cluster=NAME
//
// clickhouses is the native protocol over TLS; http and https are HTTP. Further parameters:
// password_file, dial_timeout, read_timeout, and for TLS ca, cert and key (PEM files) and server_name.
// Errors name the setting, and never the password.
func Parse(setting string) (Options, error) {
	o, err := parse(setting)
	if err != nil {
		return Options{}, fmt.Errorf("%s: %w", Setting, err)
	}
	return o, nil
}

func parse(setting string) (Options, error) {
	d, err := dsn.Parse(setting, schemes...)
	if err != nil {
		return Options{}, err
	}
	o := Options{Addr: d.Hosts, HTTP: speaksHTTP(d.Scheme.Name), TLS: d.TLS, Database: d.Path, User: d.User, Password: d.Password}
	if o.User == "" {
		o.User = "default"
	}
	if !databaseName.MatchString(o.Database) || o.Database == "default" || o.Database == "system" {
		return Options{}, fmt.Errorf("database %q: it needs one of its own, of letters, digits and _, as in clickhouse://%s/mailbeacon", o.Database, strings.Join(d.Hosts, ","))
	}
	if err := o.parameters(d); err != nil {
		return Options{}, err
	}
	if len(o.Addr) > 1 && !o.Replicated {
		// Each of them would know its own progress, and after a change of servers events would be counted again.
		return Options{}, errors.New("several hosts hold the same only with replicated=true; name one, or add that")
	}
	return o, nil
}

func (o *Options) parameters(d *dsn.DSN) error {
	for name, read := range map[string]func(value string) (err error){
		"replicated": func(value string) (err error) { o.Replicated, err = strconv.ParseBool(value); return err },
		"cluster": func(value string) error {
			if o.Cluster = value; !databaseName.MatchString(value) {
				return errors.New("a cluster's name is of letters, digits and _")
			}
			return nil
		},
		"dial_timeout": func(value string) (err error) { o.DialTimeout, err = duration(value); return err },
		"read_timeout": func(value string) (err error) { o.ReadTimeout, err = duration(value); return err },
	} {
		value, ok := d.Take(name)
		if !ok {
			continue
		}
		if err := read(value); err != nil {
			return fmt.Errorf("%s=%s: %w", name, value, err)
		}
	}
	return d.Rest()
}

func duration(value string) (time.Duration, error) {
	d, err := time.ParseDuration(value)
	if err == nil && d <= 0 {
		err = errors.New("it must be longer than nothing")
	}
	return d, err
}

// String is the setting without its password.
func (o Options) String() string {
	for _, s := range schemes {
		if speaksHTTP(s.Name) == o.HTTP && s.TLS == (o.TLS != nil) {
			return s.Name + "://" + o.User + "@" + strings.Join(o.Addr, ",") + "/" + o.Database
		}
	}
	return ""
}

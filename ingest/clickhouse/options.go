package clickhouse

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
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

// schemes are the forms of the setting.
var schemes = map[string]struct {
	http, tls bool
	port      string
}{
	"clickhouse":  {port: "9000"},
	"clickhouses": {tls: true, port: "9440"},
	"http":        {http: true, port: "8123"},
	"https":       {http: true, tls: true, port: "8443"},
}

var databaseName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,63}$`)

// Parse reads the setting:
//
//	clickhouse://USER:PASSWORD@HOST:PORT,HOST:PORT/DATABASE?replicated=true&cluster=NAME
//
// clickhouses is the native protocol over TLS; http and https are HTTP. Further parameters: ca, cert
// and key (PEM files), server_name, dial_timeout, read_timeout. Errors name the setting, and never
// the password.
func Parse(setting string) (Options, error) {
	o, err := parse(setting)
	if err != nil {
		return Options{}, fmt.Errorf("%s: %w", Setting, err)
	}
	return o, nil
}

func parse(setting string) (Options, error) {
	scheme, rest, ok := strings.Cut(setting, "://")
	kind, known := schemes[scheme]
	if !ok || !known {
		return Options{}, errors.New("it must begin with clickhouse://, clickhouses://, http:// or https://")
	}
	// Several hosts are no URL: they are taken out before the rest is read as one.
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	hosts, before := rest[:end], ""
	if at := strings.LastIndexByte(hosts, '@'); at >= 0 {
		before, hosts = hosts[:at+1], hosts[at+1:]
	}
	u, err := url.Parse(scheme + "://" + before + "hosts" + rest[end:])
	if err != nil {
		return Options{}, errors.New("it is no URL: special characters of a password are written as %XX")
	}
	o := Options{HTTP: kind.http, Database: strings.Trim(u.Path, "/"), User: u.User.Username()}
	o.Password, _ = u.User.Password()
	if o.User == "" {
		o.User = "default"
	}
	if o.Addr, err = addresses(hosts, kind.port); err != nil {
		return Options{}, err
	}
	if !databaseName.MatchString(o.Database) || o.Database == "default" || o.Database == "system" {
		return Options{}, fmt.Errorf("database %q: it needs one of its own, of letters, digits and _, as in clickhouse://%s/mailbeacon", o.Database, hosts)
	}
	return o, o.parameters(u, kind.tls)
}

func addresses(hosts, port string) ([]string, error) {
	var all []string
	for host := range strings.SplitSeq(hosts, ",") {
		if _, _, err := net.SplitHostPort(host); err != nil {
			host = net.JoinHostPort(strings.Trim(host, "[]"), port)
		}
		name, number, err := net.SplitHostPort(host)
		if n, nerr := strconv.ParseUint(number, 10, 16); err != nil || nerr != nil || n == 0 || name == "" {
			return nil, fmt.Errorf("%q is no host:port", host)
		}
		all = append(all, host)
	}
	return all, nil
}

func (o *Options) parameters(u *url.URL, secure bool) error {
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return errors.New("what follows the question mark is no list of name=value")
	}
	files := map[string]string{}
	for name, values := range q {
		value := values[len(values)-1]
		var err error
		switch name {
		case "replicated":
			o.Replicated, err = strconv.ParseBool(value)
		case "cluster":
			if o.Cluster = value; !databaseName.MatchString(value) {
				err = errors.New("a cluster's name is of letters, digits and _")
			}
		case "dial_timeout":
			o.DialTimeout, err = duration(value)
		case "read_timeout":
			o.ReadTimeout, err = duration(value)
		case "ca", "cert", "key", "server_name":
			files[name] = value
			if !secure {
				err = errors.New("it is for clickhouses:// and https:// only")
			}
		default:
			err = errors.New("there is no such parameter")
		}
		if err != nil {
			return fmt.Errorf("%s=%s: %w", name, value, err)
		}
	}
	if secure {
		o.TLS, err = tlsConfig(files)
	}
	return err
}

func duration(value string) (time.Duration, error) {
	d, err := time.ParseDuration(value)
	if err == nil && d <= 0 {
		err = errors.New("it must be longer than nothing")
	}
	return d, err
}

func tlsConfig(files map[string]string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: files["server_name"]}
	if ca := files["ca"]; ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, fmt.Errorf("ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca=%s: no certificate is in it", ca)
		}
	}
	if files["cert"] != "" || files["key"] != "" {
		pair, err := tls.LoadX509KeyPair(files["cert"], files["key"])
		if err != nil {
			return nil, fmt.Errorf("cert and key: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// String is the setting without its password.
func (o Options) String() string {
	for scheme, kind := range schemes {
		if kind.http == o.HTTP && kind.tls == (o.TLS != nil) {
			return scheme + "://" + o.User + "@" + strings.Join(o.Addr, ",") + "/" + o.Database
		}
	}
	return ""
}

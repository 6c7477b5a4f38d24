// Package dsn reads how to reach the servers of a cluster from one line:
//
//	scheme://USER:PASSWORD@HOST:PORT,HOST:PORT/PATH?name=value
//
// Errors say what is wrong with it and never hold a password.
package dsn

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
)

// Scheme is one way in which a line may begin.
type Scheme struct {
	Name string
	TLS  bool
	// Port is what a host without one gets.
	Port string
}

// DSN is a line's parts.
type DSN struct {
	Scheme Scheme
	User   string
	// Password is from the line, or from the file that the parameter password_file names.
	Password string
	Hosts    []string // host:port
	Path     string   // without slashes at its ends
	// TLS is nil where the scheme is in the clear. The parameters ca, cert and key (PEM files) and
	// server_name are in it.
	TLS *tls.Config

	values url.Values // the parameters that nobody took yet
}

// Parse reads a line that begins with one of the schemes.
func Parse(line string, schemes ...Scheme) (*DSN, error) {
	name, rest, _ := strings.Cut(line, "://")
	d := &DSN{}
	known := make([]string, len(schemes))
	for i, s := range schemes {
		if known[i] = s.Name + "://"; s.Name == name && rest != "" {
			d.Scheme = s
		}
	}
	if d.Scheme.Name == "" {
		return nil, fmt.Errorf("it must begin with %s and a host", strings.Join(known, " or "))
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
	// An @ further on is that of a password which has one of /?# in it: what looks like hosts is a part of it.
	path, _, _ := strings.Cut(rest[end:], "?")
	u, err := url.Parse(name + "://" + before + "hosts" + rest[end:])
	if err != nil || strings.Contains(path, "@") || before == "" && strings.Contains(rest, "@") {
		return nil, errors.New("it is no URL: special characters of a password are written as %XX")
	}
	d.Path, d.User = strings.Trim(u.Path, "/"), u.User.Username()
	d.Password, _ = u.User.Password()
	if d.values, err = url.ParseQuery(u.RawQuery); err != nil {
		return nil, errors.New("what follows the question mark is no list of name=value")
	}
	if err := d.hosts(hosts); err != nil {
		return nil, err
	}
	return d, errors.Join(d.readPassword(), d.secure())
}

func (d *DSN) hosts(list string) error {
	for host := range strings.SplitSeq(list, ",") {
		if _, _, err := net.SplitHostPort(host); err != nil {
			host = net.JoinHostPort(strings.Trim(host, "[]"), d.Scheme.Port)
		}
		name, number, err := net.SplitHostPort(host)
		if n, nerr := strconv.ParseUint(number, 10, 16); err != nil || nerr != nil || n == 0 || name == "" {
			return fmt.Errorf("%q is no host:port", host)
		}
		d.Hosts = append(d.Hosts, host)
	}
	return nil
}

// Take returns a parameter, and whether it is there. Each is to be taken once: see Rest.
func (d *DSN) Take(name string) (value string, ok bool) {
	all, ok := d.values[name]
	if !ok {
		return "", false
	}
	delete(d.values, name)
	return all[len(all)-1], true
}

// Rest is an error that names a parameter that nobody took; nil if there is none.
func (d *DSN) Rest() error {
	for name := range d.values {
		return fmt.Errorf("there is no parameter %s", name)
	}
	return nil
}

func (d *DSN) readPassword() error {
	name, ok := d.Take("password_file")
	if !ok {
		return nil
	}
	content, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("password_file: %w", err)
	}
	d.Password = strings.TrimRight(string(content), "\r\n")
	return nil
}

func (d *DSN) secure() error {
	ca, hasCA := d.Take("ca")
	cert, hasCert := d.Take("cert")
	key, hasKey := d.Take("key")
	server, hasServer := d.Take("server_name")
	if !d.Scheme.TLS {
		if hasCA || hasCert || hasKey || hasServer {
			return fmt.Errorf("ca, cert, key and server_name are for TLS only (%ss://); %s:// is in the clear", d.Scheme.Name, d.Scheme.Name)
		}
		return nil
	}
	d.TLS = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: server}
	if hasCA {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return fmt.Errorf("ca: %w", err)
		}
		d.TLS.RootCAs = x509.NewCertPool()
		if !d.TLS.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("ca=%s: no certificate is in it", ca)
		}
	}
	if hasCert || hasKey {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return fmt.Errorf("cert and key: %w", err)
		}
		d.TLS.Certificates = []tls.Certificate{pair}
	}
	return nil
}

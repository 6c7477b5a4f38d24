package kafka

import (
	"fmt"

	"mailbeacon/internal/dsn"
)

// Setting is the name of the setting that a client is configured by; errors name it.
const Setting = "--kafka"

// Parse reads the setting:
//
//	kafka://USER:PASSWORD@HOST:PORT,HOST:PORT?sasl=SCRAM-SHA-512
//
// kafkas is the same over TLS. Parameters: sasl (PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512, the default
// where there is a user), password_file, and for TLS ca, cert and key (PEM files) and server_name.
// Errors name the setting, and never the password.
func Parse(setting string) (Config, error) {
	d, err := dsn.Parse(setting, dsn.Scheme{Name: "kafka", Port: "9092"}, dsn.Scheme{Name: "kafkas", TLS: true, Port: "9093"})
	if err != nil {
		return Config{}, fmt.Errorf("%s: %w", Setting, err)
	}
	c := Config{Brokers: d.Hosts, TLS: d.TLS}
	mechanism, named := d.Take("sasl")
	switch {
	case d.Path != "":
		return Config{}, fmt.Errorf("%s: what is behind the hosts, %q, means nothing; topics are set by --topics", Setting, d.Path)
	case d.User == "" && named:
		return Config{}, fmt.Errorf("%s: sasl=%s needs a user and a password before the hosts", Setting, mechanism)
	case d.User != "" && !named:
		mechanism = ScramSHA512
	}
	if d.User != "" {
		c.SASL = &SASL{Mechanism: mechanism, User: d.User, Password: d.Password}
		if _, err := c.SASL.mechanism(); err != nil {
			return Config{}, fmt.Errorf("%s: %w", Setting, err)
		}
	}
	if err := d.Rest(); err != nil {
		return Config{}, fmt.Errorf("%s: %w", Setting, err)
	}
	return c, nil
}

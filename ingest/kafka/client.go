// Package kafka carries events and the control log over Kafka: the shipper brings the spool's events to the
// partitions of their subjects, the fetcher reads a partition for the fold, members of a group divide
// the partitions, and ControlLog is the control log of a cluster. README.md beside this file is the design,
// FORMAT.md the specification of what is written.
package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
)

const (
	// DefaultTimeout is how long one call of a broker may take.
	DefaultTimeout = 10 * time.Second

	dialTimeout = 5 * time.Second
	// metadataAge bounds how old the client's idea of who leads a partition may be.
	metadataAge = 3 * time.Second
	idleTimeout = 30 * time.Second
)

// The mechanisms of SASL that can be asked for.
const (
	Plain       = "PLAIN"
	ScramSHA256 = "SCRAM-SHA-256"
	ScramSHA512 = "SCRAM-SHA-512"
)

// SASL is how a client says who it is.
type SASL struct {
	Mechanism string
	User      string
	Password  string
}

// Config says how to reach a cluster. Brokers is needed.
type Config struct {
	// Brokers are addresses, host:port, of some of the cluster's brokers.
	Brokers []string
	// TLS is nil for connections in the clear.
	TLS *tls.Config
	// SASL is nil where the broker asks for nobody's name.
	SASL *SASL
	// ClientID is the name in the broker's logs and quotas; "mailbeacon" if empty.
	ClientID string
	// Timeout is how long one call may take, DefaultTimeout if 0.
	Timeout time.Duration

	dial func(ctx context.Context, network, addr string) (net.Conn, error) // tests go through a proxy
}

// Client is a connection to a cluster. All methods may be called concurrently.
type Client struct {
	c         Config
	mechanism sasl.Mechanism
	transport *kafkago.Transport
	client    *kafkago.Client
	fetches   atomic.Uint64
}

// NewClient checks the configuration; it connects to nobody yet. The errors name the setting.
func NewClient(c Config) (*Client, error) {
	if len(c.Brokers) == 0 {
		return nil, errors.New("kafka: no address of a broker (brokers)")
	}
	for _, b := range c.Brokers {
		host, port, err := net.SplitHostPort(b)
		if err != nil || host == "" || port == "" {
			return nil, fmt.Errorf("kafka: brokers: %q is not host:port", b)
		}
	}
	if c.Timeout < 0 {
		return nil, fmt.Errorf("kafka: timeout: %v is below zero", c.Timeout)
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.ClientID == "" {
		c.ClientID = "mailbeacon"
	}
	if c.dial == nil {
		c.dial = (&net.Dialer{Timeout: dialTimeout}).DialContext
	}
	k := &Client{c: c}
	var err error
	if k.mechanism, err = c.SASL.mechanism(); err != nil {
		return nil, err
	}
	k.transport = &kafkago.Transport{
		Dial: c.dial, DialTimeout: dialTimeout, IdleTimeout: idleTimeout, MetadataTTL: metadataAge,
		ClientID: c.ClientID, TLS: c.TLS, SASL: k.mechanism,
	}
	k.client = &kafkago.Client{Addr: kafkago.TCP(c.Brokers...), Timeout: c.Timeout, Transport: k.transport}
	return k, nil
}

func (s *SASL) mechanism() (sasl.Mechanism, error) {
	if s == nil {
		return nil, nil
	}
	if s.User == "" {
		return nil, errors.New("kafka: sasl: no user")
	}
	switch s.Mechanism {
	case Plain:
		return plain.Mechanism{Username: s.User, Password: s.Password}, nil
	case ScramSHA256, ScramSHA512:
		hash := scram.SHA256
		if s.Mechanism == ScramSHA512 {
			hash = scram.SHA512
		}
		m, err := scram.Mechanism(hash, s.User, s.Password)
		if err != nil {
			return nil, fmt.Errorf("kafka: sasl: user or password can't be used: %w", err)
		}
		return m, nil
	}
	return nil, fmt.Errorf("kafka: sasl mechanism %q is none of %s", s.Mechanism, strings.Join([]string{Plain, ScramSHA256, ScramSHA512}, ", "))
}

// Close gives the connections back. Calls under way end with an error.
func (k *Client) Close() error {
	k.transport.CloseIdleConnections()
	return nil
}

// leastMetadata is the version of Metadata that names topics by their ids: Kafka 3.1 and newer.
const leastMetadata = 12

const keyMetadata = 3

// Check asks whether the cluster can be reached and used, and says what is wrong by the name of the
// setting.
func (k *Client) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, k.c.Timeout)
	defer cancel()
	r, err := k.client.ApiVersions(ctx, &kafkago.ApiVersionsRequest{})
	if err == nil {
		err = r.Error
	}
	if err != nil {
		return k.unreachable(err)
	}
	newest := -1
	for _, v := range r.ApiKeys {
		if v.ApiKey == keyMetadata {
			newest = v.MaxVersion
		}
	}
	return k.checkAge(newest)
}

// checkAge refuses a broker by the newest version of Metadata that it speaks.
func (k *Client) checkAge(newest int) error {
	if newest < leastMetadata {
		return fmt.Errorf("kafka: the broker at %s is too old: it speaks Metadata up to version %d, %d is needed (Kafka 3.1 or newer)", k.brokers(), newest, leastMetadata)
	}
	return nil
}

func (k *Client) brokers() string { return strings.Join(k.c.Brokers, ",") }

// unreachable says in the operator's words why no broker could be asked.
func (k *Client) unreachable(err error) error {
	var code kafkago.Error
	if errors.As(err, &code) {
		switch code {
		case kafkago.SASLAuthenticationFailed:
			return fmt.Errorf("kafka: sasl: the broker refuses user %q or the password (%s): %w", k.c.SASL.User, k.c.SASL.Mechanism, err)
		case kafkago.UnsupportedSASLMechanism:
			return fmt.Errorf("kafka: sasl: the broker does not offer mechanism %s: %w", k.c.SASL.Mechanism, err)
		}
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fmt.Errorf("kafka: tls: the certificate of the broker at %s is not trusted: %w", k.brokers(), err)
	}
	hint := "is it the right address, and does the broker run?"
	switch {
	case k.c.TLS != nil && (closed(err) || strings.Contains(err.Error(), "tls: ")):
		hint = "tls is set; does the broker speak TLS at this port?"
	case closed(err):
		hint = "tls and sasl: the broker hung up; does it want TLS, or SASL, at this port?"
	}
	return fmt.Errorf("kafka: brokers: no answer from %s; %s: %w", k.brokers(), hint, err)
}

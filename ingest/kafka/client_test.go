package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"testing"
	"time"

	"mailbeacon/internal/control"
	"mailbeacon/internal/control/controltest"
	"mailbeacon/internal/engines/kafka"
	"mailbeacon/internal/engines/kafka/kafkatest"
)

func TestConfig(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]Config{
		"brokers":         {},
		`brokers: "here"`: {Brokers: []string{"here"}},
		"timeout":         {Brokers: []string{"a:1"}, Timeout: -1},
		"sasl mechanism":  {Brokers: []string{"a:1"}, SASL: &SASL{Mechanism: "GSSAPI", User: "u"}},
		"sasl: no user":   {Brokers: []string{"a:1"}, SASL: &SASL{Mechanism: Plain}},
	} {
		_, err := NewClient(c)
		expectError(t, err, want)
	}
}

func TestWrongAddress(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	addr := l.Addr().String()
	must(t, l.Close())
	k := client(t, Config{Brokers: []string{addr}, Timeout: 2 * time.Second})
	expectError(t, k.Check(t.Context()), "brokers", addr)
	_, err = k.Ensure(t.Context(), EventsTopic("x", 1, 0, 0))
	expectError(t, err, "brokers", addr)
}

func TestOldBroker(t *testing.T) {
	t.Parallel()
	k := client(t, Config{Brokers: []string{"127.0.0.1:1"}})
	expectError(t, k.checkAge(11), "too old", "3.1")
	must(t, k.checkAge(leastMetadata))
}

// TestSecure goes through everything with TLS and each way to say who one is.
func TestSecure(t *testing.T) {
	t.Parallel()
	b := kafkatest.Own(t, kafka.Options{Secure: true})
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(b.CA()) {
		t.Fatal("no certificate")
	}
	trusting := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	admin, nobody := kafka.Users()[0], kafka.Users()[1]
	as := func(mechanism string, u kafka.User) Config {
		return Config{Brokers: []string{b.SASLAddr()}, TLS: trusting, SASL: &SASL{mechanism, u.Name, u.Password}, Timeout: 5 * time.Second}
	}

	for name, c := range map[string]Config{
		"TLS": {Brokers: []string{b.TLSAddr()}, TLS: trusting}, Plain: as(Plain, admin), ScramSHA256: as(ScramSHA256, admin), ScramSHA512: as(ScramSHA512, admin),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, c, 2)
			a, stop := r.member(client(t, c), r.quarantine())
			r.append(1000)
			r.shipAll()
			r.awaitFolded()
			r.check()
			if len(owned(a)) != 2 {
				t.Error("the group was not used")
			}
			stop()
			log := OpenControlLog(client(t, c), ensure(t, client(t, c), ControlTopic(newTopic(t), 0)).Name, nil)
			defer log.Close()
			if pos, err := log.Append(t.Context(), controltest.Record(1)); err != nil || pos != 1 {
				t.Errorf("position %d, %v", pos, err)
			}
		})
	}

	wrong := as(ScramSHA512, kafka.User{Name: admin.Name, Password: "password-of-the-test"})
	plainWrong := as(Plain, kafka.User{Name: admin.Name, Password: "password-of-the-test"})
	refused := as(Plain, nobody)
	for name, c := range map[string]struct {
		config Config
		want   []string
	}{
		"wrong password":       {wrong, []string{"sasl", admin.Name, ScramSHA512}},
		"wrong password plain": {plainWrong, []string{"sasl", admin.Name, Plain}},
		"untrusted":            {Config{Brokers: []string{b.TLSAddr()}, TLS: &tls.Config{MinVersion: tls.VersionTLS12}, Timeout: 2 * time.Second}, []string{"tls", "trusted"}},
		"no TLS":               {Config{Brokers: []string{b.TLSAddr()}, Timeout: 2 * time.Second}, []string{"tls"}},
		"TLS to a plain port":  {Config{Brokers: []string{b.Addr()}, TLS: trusting, Timeout: 2 * time.Second}, []string{"tls"}},
		"no permission":        {refused, []string{"permission", nobody.Name}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := client(t, c.config).Ensure(t.Context(), EventsTopic(newTopic(t), 1, 0, 0))
			t.Log(err)
			expectError(t, err, c.want...)
		})
	}

	t.Run("permission of each call", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, as(Plain, admin), 1)
		k := client(t, refused)
		_, err := k.Verify(t.Context(), EventsTopic(r.topic.Name, 1, 0, 0))
		expectError(t, err, "permission", nobody.Name)
		log := OpenControlLog(k, r.topic.Name, nil)
		defer log.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if _, err := log.Append(ctx, controltest.Record(1)); err == nil || errors.Is(err, control.ErrClosed) {
			t.Errorf("append: %v", err)
		}
	})
}

package clickhouse

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"mailbeacon/internal/engines/clickhouse/clickhousetest"
)

// tlsBefore puts TLS before a server: the engine has none of its own.
func tlsBefore(t *testing.T, to string) (addr, ca string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"clickhouse.test"}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(t, err)
	ca = filepath.Join(t.TempDir(), "ca.pem")
	must(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	must(t, err)
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer client.Close()
				server, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				defer server.Close()
				go func() { _, _ = io.Copy(server, client); server.Close() }()
				_, _ = io.Copy(client, server)
			}()
		}
	}()
	return ln.Addr().String(), ca
}

func TestTLS(t *testing.T) {
	t.Parallel()
	server := clickhousetest.Start(t)
	for scheme, to := range map[string]string{"clickhouses": server.Native, "https": server.HTTP} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			plain := database(t, server)
			addr, ca := tlsBefore(t, to)
			o, err := Parse(scheme + "://" + addr + "/" + plain.Database + "?server_name=clickhouse.test&ca=" + ca)
			must(t, err)
			must(t, open(t, o).Commit(t.Context(), step(0, 1, 1)))
			// A server that nobody vouches for, and one that is another.
			for _, parameters := range []string{"?server_name=clickhouse.test", "?server_name=other.test&ca=" + ca} {
				o, err := Parse(scheme + "://" + addr + "/" + plain.Database + parameters)
				must(t, err)
				if _, err := Open(t.Context(), o); !errors.Is(err, ErrAddress) {
					t.Errorf("%s: %v", parameters, err)
				}
			}
		})
	}
}

package kafka

import (
	"reflect"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]Config{
		"kafka://a":                       {Brokers: []string{"a:9092"}},
		"kafka://a:1,b:2":                 {Brokers: []string{"a:1", "b:2"}},
		"kafka://u:p@a":                   {Brokers: []string{"a:9092"}, SASL: &SASL{ScramSHA512, "u", "p"}},
		"kafka://u:p%3A@a?sasl=PLAIN":     {Brokers: []string{"a:9092"}, SASL: &SASL{Plain, "u", "p:"}},
		"kafka://u:@a?sasl=SCRAM-SHA-256": {Brokers: []string{"a:9092"}, SASL: &SASL{ScramSHA256, "u", ""}},
	} {
		got, err := Parse(line)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", line, got, err)
		}
	}
	if c, err := Parse("kafkas://a?server_name=b"); err != nil || c.TLS == nil || c.TLS.ServerName != "b" {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for line, says := range map[string]string{
		"a:9092":                  "must begin with kafka://",
		"kafka://a/topic":         "--topics",
		"kafka://a?sasl=PLAIN":    "needs a user",
		"kafka://u:p@a?sasl=NTLM": "NTLM",
		"kafka://a?tls=true":      "no parameter tls",
	} {
		_, err := Parse(line)
		if err == nil || !strings.Contains(err.Error(), says) || !strings.HasPrefix(err.Error(), Setting) {
			t.Errorf("%s: %v, want %q", line, err, says)
		}
	}
}

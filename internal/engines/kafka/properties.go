package kafka

import (
	"fmt"
	"strings"
)

const clusterID = "bWFpbGJlYWNvbi10ZXN0cw"

// User is somebody whom the broker knows by SASL.
type User struct{ Name, Password string }

// users is Users, as part of what the prepared folder depends on.
const users = "admin admin-password, nobody nobody-password"

// Users are those whom every broker with Secure knows, by PLAIN and by SCRAM alike: the first may do
// everything, the second nothing.
func Users() []User {
	return []User{{"admin", "admin-password"}, {"nobody", "nobody-password"}}
}

// properties is the broker's configuration.
func (o *Options) properties(data string, c *certificate) string {
	var b strings.Builder
	set := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%s=%s\n", name, fmt.Sprintf(format, args...))
	}
	set("process.roles", "broker,controller")
	set("node.id", "1")
	set("controller.quorum.voters", "1@127.0.0.1:%d", o.ports[1])
	set("controller.listener.names", "CONTROLLER")
	set("log.dirs", "%s", data)
	listeners := fmt.Sprintf("PLAINTEXT://127.0.0.1:%d", o.ports[0])
	advertised := listeners
	if c != nil {
		secure := fmt.Sprintf(",SSL://127.0.0.1:%d,SASL_SSL://127.0.0.1:%d", o.ports[2], o.ports[3])
		listeners += secure
		advertised += secure
		o.secure(set, c)
	}
	protocols := "PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT"
	for i, way := range o.Ways {
		listeners += fmt.Sprintf(",WAY%d://127.0.0.1:%d", i, o.ports[4+i])
		advertised += fmt.Sprintf(",WAY%d://%s", i, way)
		protocols += fmt.Sprintf(",WAY%d:PLAINTEXT", i)
	}
	set("listeners", "%s,CONTROLLER://127.0.0.1:%d", listeners, o.ports[1])
	set("advertised.listeners", "%s", advertised)
	set("listener.security.protocol.map", "%s", protocols)
	// One broker is all there is.
	for _, name := range []string{"offsets.topic.replication.factor", "offsets.topic.num.partitions", "transaction.state.log.replication.factor", "transaction.state.log.min.isr", "transaction.state.log.num.partitions"} {
		set(name, "1")
	}
	set("auto.create.topics.enable", "false")
	set("group.initial.rebalance.delay.ms", "0")
	// A broker that was killed is let in again this soon.
	set("broker.session.timeout.ms", "1000")
	set("broker.heartbeat.interval.ms", "300")
	// Small enough for the heap that it gets.
	set("log.cleaner.dedupe.buffer.size", "4194304")
	set("log.cleaner.backoff.ms", "200")
	set("log.retention.check.interval.ms", "500")
	set("log.initial.task.delay.ms", "100")
	set("log.segment.delete.delay.ms", "1000")
	for _, line := range o.Properties {
		b.WriteString(line + "\n")
	}
	return b.String()
}

func (o *Options) secure(set func(name, format string, args ...any), c *certificate) {
	set("ssl.keystore.type", "PEM")
	set("ssl.keystore.key", "%s", oneLine(c.key))
	set("ssl.keystore.certificate.chain", "%s", oneLine(c.cert))
	set("sasl.enabled.mechanisms", "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512")
	jaas := `org.apache.kafka.common.security.plain.PlainLoginModule required`
	for _, u := range Users() {
		jaas += fmt.Sprintf(` user_%s="%s"`, u.Name, u.Password)
	}
	set("listener.name.sasl_ssl.plain.sasl.jaas.config", "%s;", jaas)
	for _, mechanism := range []string{"scram-sha-256", "scram-sha-512"} {
		set("listener.name.sasl_ssl."+mechanism+".sasl.jaas.config", "org.apache.kafka.common.security.scram.ScramLoginModule required;")
	}
	set("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer")
	set("super.users", "User:ANONYMOUS;User:%s", Users()[0].Name)
}

// oneLine is a PEM text as a property's value.
func oneLine(pem string) string { return strings.ReplaceAll(strings.TrimSpace(pem), "\n", "\\n") }

package clickhouse

import (
	"fmt"
	"net"
	"path/filepath"
)

// config is the configuration of an installed server, which is at path: nothing but the loopback
// addresses, the folder, and two users.
func (s *Server) config(path string) (string, error) {
	host, native, err := net.SplitHostPort(s.Native)
	if err != nil {
		return "", err
	}
	_, web, err := net.SplitHostPort(s.HTTP)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf(`logger: {level: warning, console: true}
listen_host: %[1]q
tcp_port: %[2]s
http_port: %[3]s
path: %[4]q
user_directories: {users_xml: {path: %[5]q}}
profiles: {default: {}, readonly: {readonly: 2}}
quotas: {default: {}}
users:
  default: {password: %[6]q, networks: {ip: "::/0"}, profile: default, quota: default}
  reader: {password: %[6]q, networks: {ip: "::/0"}, profile: readonly, quota: default}
`, host, native, web, filepath.Join(s.o.Dir, "data")+"/", path, s.o.Password), nil
}

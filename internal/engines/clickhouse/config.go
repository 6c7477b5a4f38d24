package clickhouse

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
)

// hostile is the profile of the user hostile: of what an operator may set, all that is bad for an insert that must be one
// part, be there when it is answered, and be there once.
var hostile = [][2]string{
	{"async_insert", "1"},
	{"wait_for_async_insert", "0"},
	{"use_strict_insert_block_limits", "1"},
	{"max_insert_block_size", "100"},
	{"min_insert_block_size_rows", "100"},
	{"min_insert_block_size_bytes", "100"},
	{"max_insert_threads", "4"},
	{"optimize_on_insert", "0"},
	{"insert_deduplicate", "0"},
	{"deduplicate_insert", "disable"},
}

// config is the configuration of an installed server, which is at path: nothing but the loopback
// addresses, the folder, and three users.
func (s *Server) config(path string) (string, error) {
	host, native, err := net.SplitHostPort(s.Native)
	if err != nil {
		return "", err
	}
	_, web, err := net.SplitHostPort(s.HTTP)
	if err != nil {
		return "", err
	}
	var profile []string
	for _, set := range hostile {
		profile = append(profile, fmt.Sprintf("%s: %q", set[0], set[1]))
	}
	return fmt.Sprintf(`logger: {level: warning, console: true}
listen_host: %[1]q
tcp_port: %[2]s
http_port: %[3]s
path: %[4]q
user_directories: {users_xml: {path: %[5]q}}
profiles: {default: {}, readonly: {readonly: 2}, hostile: {%[7]s}}
quotas: {default: {}}
users:
  default: {password: %[6]q, networks: {ip: "::/0"}, profile: default, quota: default}
  reader: {password: %[6]q, networks: {ip: "::/0"}, profile: readonly, quota: default}
  hostile: {password: %[6]q, networks: {ip: "::/0"}, profile: hostile, quota: default}
`, host, native, web, filepath.Join(s.o.Dir, "data")+"/", path, s.o.Password, strings.Join(profile, ", ")), nil
}

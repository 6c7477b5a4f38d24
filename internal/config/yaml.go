package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

// readYAML reads a file of settings: one mapping from names to values, a list of values where a
// setting takes several. Unknown and repeated names are errors.
func readYAML(name string, content []byte) (map[string]given, error) {
	base := filepath.Base(name)
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	var doc yaml.Node
	if err := decoder.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, nil // nothing but comments
	} else if err != nil {
		return nil, fmt.Errorf("read the settings in %s: %w", base, err)
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read the settings in %s: there is more than one document in it", base)
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return nil, nil
	}
	if root.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("read the settings in %s: right would be lines as `listen: \":8080\"`", base)
	}
	values := map[string]given{}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		source := fmt.Sprintf("%s, line %d", base, key.Line)
		if find(func(s *Setting) bool { return s.Name == key.Value }) == nil {
			return nil, &Error{key.Value, source, "is unknown" + suggest(key.Value, func(s *Setting) string { return s.Name })}
		}
		if _, twice := values[key.Value]; twice {
			return nil, &Error{key.Value, source, "is set a second time; right would be once"}
		}
		text, ok := scalars(value)
		if !ok {
			return nil, &Error{key.Value, source, "holds a structure; right would be one value, or a list of them where several are allowed"}
		}
		values[key.Value] = given{text, source}
	}
	return values, nil
}

// scalars is a value as it would be written on the command line.
func scalars(n *yaml.Node) (string, bool) {
	switch n.Kind {
	case yaml.ScalarNode:
		if n.Tag == "!!null" {
			return "", true
		}
		return n.Value, true
	case yaml.SequenceNode:
		parts := make([]string, 0, len(n.Content))
		for _, c := range n.Content {
			if c.Kind != yaml.ScalarNode || strings.Contains(c.Value, ",") {
				return "", false
			}
			parts = append(parts, c.Value)
		}
		return strings.Join(parts, ","), true
	}
	return "", false
}

package classify

import (
	"fmt"
	"slices"
	"strings"
)

// pattern is a name to be found in a header, and what finding it means.
type pattern struct {
	text     string // lower-case ASCII, without the marks of its syntax
	openHead bool   // a letter or a digit may stand before it
	openTail bool   // and behind it
	except   bool   // it takes back what other patterns that end at the same place mean
	mark     marks
}

// parsePattern reads the syntax of agents.txt.
func parsePattern(s string, mark marks) (pattern, error) {
	p := pattern{mark: mark}
	p.text, p.except = strings.CutPrefix(s, "!")
	p.text, p.openHead = strings.CutPrefix(p.text, "*")
	p.text, p.openTail = strings.CutSuffix(p.text, "*")
	if len(p.text) < 2 {
		return p, fmt.Errorf("pattern %q is too short", s)
	}
	for _, c := range []byte(p.text) {
		if c < ' ' || c > '~' || c == '*' || c >= 'A' && c <= 'Z' {
			return p, fmt.Errorf("pattern %q is not lower-case ASCII", s)
		}
	}
	return p, nil
}

// matcher finds all of its patterns in one pass, in any case: an Aho-Corasick automaton, unrolled
// to one table look-up a byte. It is read-only.
type matcher struct {
	class  [256]uint8 // of a byte: its column; 0 for bytes that no pattern has. Upper case is lower.
	shift  uint8      // log2 of the columns
	next   []uint16   // by state and column: the next state
	first  uint16     // states from here on end a pattern
	ends   [][]int    // by state from first on: the patterns, longest first
	wordly [256]bool  // bytes of which words are made
	all    []pattern
}

// node is a state while the automaton is built.
type node struct {
	child map[uint8]int
	fail  int
	ends  []int
}

// newMatcher compiles patterns. There may be some thousands of bytes of them, not millions: a state
// is 16 bits.
func newMatcher(all []pattern) *matcher {
	m := &matcher{all: all}
	columns := m.assignColumns()
	for 1<<m.shift < columns {
		m.shift++
	}
	nodes := m.trie()
	if len(nodes) > 1<<16 {
		panic("classify: too many patterns")
	}
	order := link(nodes)

	// States that end nothing come first, so that one comparison tells them apart. The root ends
	// nothing and comes first of all.
	state := make([]uint16, len(nodes))
	number := 0
	for _, ending := range []bool{false, true} {
		for _, n := range order {
			if (len(nodes[n].ends) > 0) == ending {
				state[n] = uint16(number)
				number++
				if ending {
					m.ends = append(m.ends, nodes[n].ends)
				}
			}
		}
	}
	m.first = uint16(len(nodes) - len(m.ends))

	m.next = make([]uint16, len(nodes)<<m.shift)
	for _, n := range order { // a state's row builds on that of the state it falls back to
		row := int(state[n]) << m.shift
		if n != 0 {
			fall := int(state[nodes[n].fail]) << m.shift
			copy(m.next[row:row+columns], m.next[fall:fall+columns])
		}
		for column, c := range nodes[n].child {
			m.next[row+int(column)] = state[c]
		}
	}
	return m
}

// assignColumns gives each byte of the patterns a column, and returns how many there are.
func (m *matcher) assignColumns() int {
	columns := 1
	for b := range 256 {
		c := byte(b)
		m.wordly[b] = c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' || c >= 0x80
	}
	for _, p := range m.all {
		for _, c := range []byte(p.text) {
			if m.class[c] == 0 {
				m.class[c] = uint8(columns)
				columns++
			}
		}
	}
	for c := 'A'; c <= 'Z'; c++ {
		m.class[c] = m.class[c|0x20]
	}
	return columns
}

func (m *matcher) trie() []node {
	nodes := []node{{child: map[uint8]int{}}}
	for i, p := range m.all {
		at := 0
		for _, c := range []byte(p.text) {
			to, ok := nodes[at].child[m.class[c]]
			if !ok {
				to = len(nodes)
				nodes = append(nodes, node{child: map[uint8]int{}})
				nodes[at].child[m.class[c]] = to
			}
			at = to
		}
		nodes[at].ends = append(nodes[at].ends, i)
	}
	return nodes
}

// link finds for each node the longest other one that its text ends with, and returns the nodes
// from the root outwards.
func link(nodes []node) []int {
	order := []int{0}
	for i := 0; i < len(order); i++ {
		n := order[i]
		columns := make([]uint8, 0, len(nodes[n].child))
		for column := range nodes[n].child {
			columns = append(columns, column)
		}
		slices.Sort(columns)
		for _, column := range columns {
			c := nodes[n].child[column]
			order = append(order, c)
			if n == 0 {
				continue
			}
			fall := nodes[n].fail
			for {
				if to, ok := nodes[fall].child[column]; ok {
					nodes[c].fail = to
					break
				}
				if fall == 0 {
					break
				}
				fall = nodes[fall].fail
			}
			nodes[c].ends = append(nodes[c].ends, nodes[nodes[c].fail].ends...)
		}
	}
	return order
}

// find returns the marks of all patterns that stand in text. It does not allocate.
func (m *matcher) find(text []byte) (found marks) {
	state := uint16(0)
	for i, c := range text {
		state = m.next[int(state)<<m.shift|int(m.class[c])]
		if state >= m.first {
			found |= m.ending(state, text, i+1)
		}
	}
	return found
}

// ending returns the marks of the patterns that end in a state, before text[end].
func (m *matcher) ending(state uint16, text []byte, end int) (found marks) {
	inWord := end < len(text) && m.wordly[text[end]]
	for _, i := range m.ends[state-m.first] {
		p := &m.all[i]
		start := end - len(p.text)
		if inWord && !p.openTail || start > 0 && m.wordly[text[start-1]] && !p.openHead {
			continue
		}
		if p.except {
			return 0
		}
		found |= p.mark
	}
	return found
}

package endpoint

import (
	"bytes"
	"slices"
	"strings"
)

// A matcher finds all hosts of the table in bytes, as text of one byte a
// character, and of two (UTF-16, as resources have it): the automaton of Aho
// and Corasick, with one step a byte.
type matcher struct {
	next [][256]int32
	ends []int32 // by state: 1 + the index of the longest word that ends there; 0: none
	word []word
}

// A word is what is looked for: the end of a host.
type word struct {
	text string
	wide bool
	size int // bytes
}

// newMatcher returns a matcher for the ends of the table's hosts.
func newMatcher() *matcher {
	var texts []string
	for _, h := range Hosts {
		texts = append(texts, strings.TrimPrefix(h.Name, "."))
	}
	slices.Sort(texts)
	m := &matcher{next: make([][256]int32, 1), ends: make([]int32, 1)}
	for _, t := range slices.Compact(texts) {
		if slices.ContainsFunc(texts, func(o string) bool { return o != t && strings.HasSuffix(t, "."+o) }) {
			continue // found by the end of it
		}
		m.add(word{t, false, len(t)}, []byte(t))
		wide := make([]byte, 0, 2*len(t))
		for i := range len(t) {
			wide = append(wide, t[i], 0)
		}
		m.add(word{t, true, len(wide)}, wide)
	}
	m.link()
	return m
}

const (
	maxHost = 255           // characters of a name
	reach   = 2*maxHost + 2 // bytes before the end of a name that say where it begins
	ahead   = 4             // bytes behind it that say that it ends
)

func (m *matcher) add(w word, pattern []byte) {
	m.word = append(m.word, w)
	state := int32(0)
	for _, c := range pattern {
		to := m.next[state][c]
		if to == 0 {
			to = int32(len(m.next))
			m.next[state][c] = to
			m.next = append(m.next, [256]int32{})
			m.ends = append(m.ends, 0)
		}
		state = to
	}
	m.ends[state] = int32(len(m.word))
}

// link makes each state go on where no longer word does.
func (m *matcher) link() {
	fail := make([]int32, len(m.next))
	var queue []int32
	for c, s := range m.next[0] {
		if s != 0 {
			queue = append(queue, m.next[0][c])
		}
	}
	for len(queue) > 0 {
		s := queue[0]
		queue = queue[1:]
		if m.ends[s] == 0 {
			m.ends[s] = m.ends[fail[s]]
		}
		for c := range 256 {
			to := m.next[s][c]
			if to == 0 {
				m.next[s][c] = m.next[fail[s]][c]
				continue
			}
			fail[to] = m.next[fail[s]][c]
			queue = append(queue, to)
		}
	}
}

// scan calls found for each host in b that ends behind from and not behind to:
// what is around that is there to see where a name begins and ends.
func (m *matcher) scan(b []byte, from, to int, found func(name string)) {
	state := int32(0)
	for i, c := range b[:to] {
		state = m.next[state][c]
		if e := m.ends[state]; e != 0 && i >= from {
			if name := m.word[e-1].name(b, i+1); name != "" {
				found(name)
			}
		}
	}
}

// name returns the whole name that ends with the word at end, or "" if the word
// is only a part of something else.
func (w *word) name(b []byte, end int) string {
	step := 1
	if w.wide {
		step = 2
	}
	at := func(i int) byte { // the character there; 0 for none
		if i < 0 || i+step > len(b) || w.wide && b[i+1] != 0 {
			return 0
		}
		return b[i]
	}
	isIP := w.text[0] >= '0' && w.text[0] <= '9'
	switch c := at(end); {
	case c == '.' && isName(at(end+step)), c == ':' && strings.Contains(w.text, ":"), isName(c) && isIP:
		return ""
	case isName(c) && (c < 'A' || c > 'Z') && (c != 'h' || at(end+step) != 't'):
		return "" // programs without ends of strings have another text there, often "http…"
	}
	start := end - w.size
	for end-start < maxHost*step && (isName(at(start-step)) || at(start-step) == '.') {
		start -= step
	}
	name := make([]byte, 0, (end-start)/step)
	for i := start; i < end; i += step {
		name = append(name, b[i])
	}
	text := string(bytes.ToLower(name))
	before := strings.TrimSuffix(text, w.text)
	if before != "" && (isIP || !strings.HasSuffix(before, ".")) {
		return ""
	}
	return strings.TrimLeft(text, ".-") // of a name that is put together, the end
}

func isName(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-'
}

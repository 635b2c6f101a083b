package bsdiff

// A segment is bytes of new that are like bytes of old.
type segment struct{ new, old, n int }

// The scan's measures, in bytes: Percival's, but for the last two.
const (
	better = 8   // by so much must a match be better than what goes on
	same   = 256 // equal bytes that need no search for others
	tired  = 100 // steps along one match that is not better by so much
)

// A scanner goes through a part of new and finds segments for it, in the manner
// of Percival's bsdiff ("Naive differences of executable code", 2003): from one
// match that is not just the last one going on to the next, and between two
// bytes go to the one that they are more like.
type scanner struct {
	old, new []byte
	m        matcher
	end      int // of the part
	out      []segment

	from, at int // the last match: a place in new, and in old
	follows  bool
}

// scan returns the segments of new[start:end]. The part at 0 begins like old.
func scan(m matcher, old, new []byte, start, end int) []segment {
	s := scanner{old: old, new: new[:end], m: m, end: end, from: start, follows: start == 0}
	for i := start; i < end; {
		pos, n, next := s.next(i)
		if i = next + n; next < end {
			s.add(next, pos)
		}
	}
	s.add(end, 0)
	return s.out
}

// alike says whether byte i of new is the one that the last match goes on to.
func (s *scanner) alike(i int) bool {
	j := i - s.from + s.at
	return s.follows && j < len(s.old) && s.old[j] == s.new[i]
}

// next returns the next match from i on that is better than the last one going
// on: in old at pos, n bytes, in new at i. Without one, i is the end.
func (s *scanner) next(start int) (pos, n, i int) {
	score := 0 // bytes of new[i:counted] that are alike
	counted := start
	along, lastPos, lastN := 0, 0, 0
	for i = start; i < s.end; i++ {
		if s.follows && counted <= i {
			if j := i - s.from + s.at; j < len(s.old) {
				if k := common(s.old[j:], s.new[i:]); k >= same || k == s.end-i {
					i += k - 1
					counted, score, along = i+1, 0, 0
					continue
				}
			}
		}
		pos, n = s.m.longest(s.new[i:])
		for ; counted < i+n; counted++ {
			if s.alike(counted) {
				score++
			}
		}
		if n > score+better {
			return pos, n, i
		}
		if n == score && n > 0 { // it is the last match, or as good
			i += n - 1
			counted, score, along = i+1, 0, 0
			continue
		}
		if i < counted && s.alike(i) {
			score--
		}
		if counted <= i {
			counted = i + 1
		}
		if pos == lastPos+1 && n == lastN-1 {
			if along++; along > tired {
				return pos, n, i
			}
		} else {
			along = 0
		}
		lastPos, lastN = pos, n
	}
	return 0, 0, s.end
}

// add ends the last match where the one at i begins, which is old's at pos. At
// the end of the part there is none.
func (s *scanner) add(i, pos int) {
	forth := 0
	if s.follows {
		forth = s.forth(i)
	}
	back := 0
	if i < s.end {
		back = s.back(i, pos)
	}
	if over := s.from + forth - (i - back); over > 0 {
		cut := s.cut(i-back, pos-back, over)
		forth -= over - cut
		back -= cut
	}
	if s.follows && forth > 0 {
		s.out = append(s.out, segment{s.from, s.at, forth})
	}
	s.from, s.at, s.follows = i-back, pos-back, true
}

// forth returns how far the last match goes on, at most to i: so far that more
// than half of its bytes are alike, by as many as can be.
func (s *scanner) forth(i int) int {
	a := s.new[s.from:i]
	b := s.old[s.at:min(len(s.old), s.at+len(a))]
	sum, most, n := 0, 0, 0
	for k := range b {
		if a[k] == b[k] {
			sum++
			if 2*sum-(k+1) > most {
				most, n = 2*sum-(k+1), k+1
			}
		}
	}
	return n
}

// back returns the same for the next match, backwards.
func (s *scanner) back(i, pos int) int {
	sum, most, n := 0, 0, 0
	for k := 1; k <= i-s.from && k <= pos; k++ {
		if s.old[pos-k] == s.new[i-k] {
			sum++
			if 2*sum-k > most {
				most, n = 2*sum-k, k
			}
		}
	}
	return n
}

// cut returns how many of the over bytes from i on go to the last match, the
// rest to the next one, which has them in old from pos on.
func (s *scanner) cut(i, pos, over int) int {
	last := i - s.from + s.at
	sum, most, n := 0, 0, 0
	for k := range over {
		c := s.new[i+k]
		if c == s.old[last+k] {
			sum++
		}
		if c == s.old[pos+k] {
			sum--
		}
		if sum > most {
			most, n = sum, k+1
		}
	}
	return n
}

// join appends segments of the next part, where a segment may go on.
func join(all, part []segment) []segment {
	if len(all) > 0 && len(part) > 0 {
		last, next := &all[len(all)-1], part[0]
		if last.new+last.n == next.new && last.old+last.n == next.old {
			last.n += next.n
			part = part[1:]
		}
	}
	return append(all, part...)
}

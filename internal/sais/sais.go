// Package sais sorts the suffixes of bytes: induced sorting as Nong, Zhang and
// Chan describe it ("Two Efficient Algorithms for Linear Time Suffix Array
// Construction", 2011), in linear time and, but for tables of the alphabet, in
// the space of its result.
package sais

// Sort sets sa, which is as long as text, to where the suffixes of text begin,
// the least first. A suffix that another begins with is the lesser one. text
// has less than 2 GiB.
func Sort(text []byte, sa []int32) {
	if len(text) != len(sa) {
		panic("sais: the array is not as long as the text")
	}
	clear(sa)
	sort(text, sa, 256, nil)
}

// symbol is what texts are made of: bytes, and names of substrings further down.
type symbol interface{ byte | int32 }

// sort does the work for a text of symbols below size; sa is zero. If spare is
// long enough, the tables go there.
//
// A suffix is of type L if it is greater than the one after it, else of type S.
// An S suffix after an L one is LMS: from the order of these, that of all
// follows. Below, a value in sa is negated (^) if one of the two passes over it
// has nothing to do for it.
func sort[T symbol](text []T, sa []int32, size int, spare []int32) {
	n := len(text)
	switch n {
	case 0:
		return
	case 1:
		sa[0] = 0
		return
	}
	if len(spare) < 2*size {
		spare = make([]int32, 2*size)
	}
	b := buckets[T]{text: text, at: spare[:size], count: spare[size : 2*size]}
	clear(b.count)
	for _, c := range text {
		b.count[c]++
	}
	m := b.placeLMS(sa)
	if m > 1 {
		b.substringsL(sa)
		b.substringsS(sa)
		sortLMS(text, sa, m)
		b.spread(sa, m)
	}
	b.induceL(sa)
	b.induceS(sa)
}

// buckets are where the suffixes of one first symbol go.
type buckets[T symbol] struct {
	text  []T
	count []int32 // of each symbol
	at    []int32 // where its next suffix goes
}

func (b *buckets[T]) starts() {
	var sum int32
	for c, n := range b.count {
		b.at[c] = sum
		sum += n
	}
}

func (b *buckets[T]) ends() {
	var sum int32
	for c, n := range b.count {
		sum += n
		b.at[c] = sum
	}
}

// placeLMS puts the LMS suffixes at the ends of their buckets, in any order,
// and returns how many there are.
func (b *buckets[T]) placeLMS(sa []int32) (m int) {
	b.ends()
	eachLMS(b.text, func(i int) {
		c := b.text[i]
		b.at[c]--
		sa[b.at[c]] = int32(i)
		m++
	})
	return m
}

// eachLMS calls f with the LMS suffixes, the last first.
func eachLMS[T symbol](text []T, f func(i int)) {
	typeS := false // of text[i+1:]; the last suffix is L
	for i := len(text) - 2; i >= 0; i-- {
		switch {
		case text[i] < text[i+1]:
			typeS = true
		case text[i] > text[i+1]:
			if typeS {
				f(i + 1)
			}
			typeS = false
		}
	}
}

// substringsL sorts, by their first symbols, L suffixes that begin within LMS
// substrings; those are left that an S suffix comes before.
func (b *buckets[T]) substringsL(sa []int32) {
	text, at := b.text, b.at
	b.starts()
	n := len(text)
	put := func(j int, c T) {
		v := int32(j)
		if j > 0 && text[j-1] < c {
			v = ^v
		}
		sa[at[c]] = v
		at[c]++
	}
	put(n-1, text[n-1])
	for i := range n {
		if j := int(sa[i]); j > 0 {
			sa[i] = 0
			put(j-1, text[j-1])
		} else if j < 0 {
			sa[i] = int32(^j)
		}
	}
}

// substringsS sorts S suffixes from that; only LMS ones are left, negated.
func (b *buckets[T]) substringsS(sa []int32) {
	text, at := b.text, b.at
	b.ends()
	for i := len(text) - 1; i >= 0; i-- {
		j := int(sa[i])
		if j <= 0 {
			continue
		}
		sa[i] = 0
		j--
		c, v := text[j], int32(j)
		if j > 0 && text[j-1] > c {
			v = ^v
		}
		at[c]--
		sa[at[c]] = v
	}
}

// sortLMS sorts the m LMS suffixes, whose substrings are sorted and negated
// somewhere in sa, into sa[:m].
func sortLMS[T symbol](text []T, sa []int32, m int) {
	k := 0
	for _, v := range sa {
		if v < 0 {
			sa[k] = ^v
			k++
		}
	}
	names := name(text, sa, m)
	if names == m {
		return // sa[:m] is sorted by names that all differ
	}
	// The text of the names, in the order of the text, goes to the end of sa.
	short := sa[len(sa)-m:]
	for i, to := len(sa)-1, m; i >= m; i-- {
		if sa[i] != 0 {
			to--
			short[to] = sa[i] - 1
		}
	}
	clear(sa[:m])
	sort(short, sa[:m], names, sa[m:len(sa)-m])
	to := m
	eachLMS(text, func(i int) {
		to--
		short[to] = int32(i)
	})
	for i, v := range sa[:m] {
		sa[i] = short[v]
	}
}

// name gives the sorted substrings in sa[:m] names from 1 on, equal ones the
// same, and puts that of the one at i to sa[m+i/2]: no two are neighbours. It
// returns how many names there are.
func name[T symbol](text []T, sa []int32, m int) int {
	clear(sa[m:])
	end := len(text) // the substring goes on to the next LMS's first symbol
	eachLMS(text, func(i int) {
		sa[m+i/2] = int32(min(end, len(text)-1) - i + 1)
		end = i
	})
	names, last, lastLen := 0, 0, 0
	for _, v := range sa[:m] {
		i := int(v)
		length := int(sa[m+i/2])
		if i+length >= len(text) {
			length = -1 // the last one is like no other
		}
		if names == 0 || length < 0 || length != lastLen || !equal(text, i, last, length) {
			names++
		}
		last, lastLen = i, length
		sa[m+i/2] = int32(names)
	}
	return names
}

func equal[T symbol](text []T, i, j, n int) bool {
	x, y := text[i:i+n], text[j:j+n]
	for k, c := range x {
		if y[k] != c {
			return false
		}
	}
	return true
}

// spread moves the sorted LMS suffixes from sa[:m] to the ends of their buckets.
func (b *buckets[T]) spread(sa []int32, m int) {
	b.ends()
	clear(sa[m:])
	for i := m - 1; i >= 0; i-- {
		j := sa[i]
		sa[i] = 0
		c := b.text[j]
		b.at[c]--
		sa[b.at[c]] = j
	}
}

// induceL sorts all L suffixes from the LMS ones.
func (b *buckets[T]) induceL(sa []int32) {
	text, at := b.text, b.at
	b.starts()
	n := len(text)
	put := func(j int, c T) {
		v := int32(j)
		if j > 0 && text[j-1] < c {
			v = ^v
		}
		sa[at[c]] = v
		at[c]++
	}
	put(n-1, text[n-1])
	for i := range n {
		j := int(sa[i])
		sa[i] = int32(^j)
		if j > 0 {
			put(j-1, text[j-1])
		}
	}
}

// induceS sorts all S suffixes from the L ones.
func (b *buckets[T]) induceS(sa []int32) {
	text, at := b.text, b.at
	b.ends()
	for i := len(text) - 1; i >= 0; i-- {
		j := int(sa[i])
		if j <= 0 {
			sa[i] = int32(^j)
			continue
		}
		j--
		c, v := text[j], int32(j)
		if j == 0 || text[j-1] > c {
			v = ^v
		}
		at[c]--
		sa[at[c]] = v
	}
}

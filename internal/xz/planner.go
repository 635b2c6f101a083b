package xz

import "slices"

// planMost is how many positions are weighed before a decision at the latest.
const planMost = 2048

// far is more than any way costs.
const far = 1 << 30

// A node is the cheapest known way to a position: from the position prev by
// symbol back of n bytes, and, if that does not reach the node, a literal (unless
// back is one) and a rep of the distance just used.
type node struct {
	price uint32
	prev  uint32
	back  uint32
	n     uint32
	rep   [reps]uint32
	state uint8
}

// A symbol is one that is decided upon.
type symbol struct{ back, n uint32 }

// A planner decides which symbols to write.
type planner struct {
	prices prices
	nodes  [planMost + 2*maxLen + 2]node
	queue  []symbol // the next one last
}

func (p *planner) reset() { p.queue = p.queue[:0] }

// symbol writes the symbol at pos and returns the position after it.
func (e *Encoder) symbol(src []byte, pos int) int {
	if len(e.plan.queue) == 0 {
		e.plan.prices.update(&e.coder)
		e.decide(src, pos)
	}
	last := len(e.plan.queue) - 1
	s := e.plan.queue[last]
	e.plan.queue = e.plan.queue[:last]
	e.write(src, pos, s.back, s.n)
	return pos + int(s.n)
}

// forget resets the coder between two symbols. What is decided upon already
// refers to its distances, and is told them.
func (e *Encoder) forget() {
	rep := e.rep
	for i, s := range slices.Backward(e.plan.queue) {
		if s.back == literalBack {
			continue
		}
		d := s.back - reps
		if s.back < reps {
			d = rep[s.back]
			if s.n == 1 {
				e.plan.queue[i].back = literalBack
				continue
			}
			e.plan.queue[i].back = d + reps
			copy(rep[1:s.back+1], rep[:s.back])
			rep[0] = d
			continue
		}
		rep = [reps]uint32{d, rep[0], rep[1], rep[2]}
	}
	e.coder.reset()
}

// after applies a symbol to state and distances.
func after(state uint8, rep *[reps]uint32, back, n uint32) uint8 {
	switch {
	case back == literalBack:
		return afterLiteral[state]
	case back < reps:
		if n == 1 {
			return afterShortRep[state]
		}
		switch back {
		case 1:
			rep[0], rep[1] = rep[1], rep[0]
		case 2:
			rep[0], rep[1], rep[2] = rep[2], rep[0], rep[1]
		case 3:
			rep[0], rep[1], rep[2], rep[3] = rep[3], rep[0], rep[1], rep[2]
		}
		return afterRep[state]
	}
	rep[0], rep[1], rep[2], rep[3] = back-reps, rep[0], rep[1], rep[2]
	return afterMatch[state]
}

// arrive fills in a node's state and distances.
func (p *planner) arrive(cur int) {
	o := &p.nodes[cur]
	from := &p.nodes[o.prev]
	o.rep = from.rep
	o.state = after(from.state, &o.rep, o.back, o.n)
	if o.prev+o.n == uint32(cur) {
		return
	}
	if o.back != literalBack {
		o.state = afterLiteral[o.state]
	}
	o.state = afterRep[o.state]
}

// accept puts the way to a node, and then a symbol if it has bytes, into the
// queue.
func (p *planner) accept(cur int, end symbol) {
	if end.n > 0 {
		p.queue = append(p.queue, end)
	}
	for cur > 0 {
		o := &p.nodes[cur]
		if rest := uint32(cur) - o.prev - o.n; rest > 0 {
			if o.back != literalBack {
				p.queue = append(p.queue, symbol{0, rest - 1}, symbol{literalBack, 1})
			} else {
				p.queue = append(p.queue, symbol{0, rest})
			}
		}
		p.queue = append(p.queue, symbol{o.back, o.n})
		cur = int(o.prev)
	}
}

// literalPrice returns what the literal at pos costs in a state.
func (c *coder) literalPrice(src []byte, pos int, state uint8, rep0 uint32) uint32 {
	prev := byte(0)
	if pos > 0 {
		prev = src[pos-1]
	}
	probs := &c.literal[prev>>(8-literalCtx)]
	sym, sum := uint32(src[pos])|0x100, uint32(0)
	if isLiteral(state) {
		for sym > 1 {
			sum += price(probs[sym>>1], sym&1)
			sym >>= 1
		}
		return sum
	}
	match, offs := uint32(src[pos-int(rep0)-1]), uint32(0x100)
	for sym < 0x10000 {
		match <<= 1
		sum += price(probs[offs+match&offs+sym>>8], sym>>7&1)
		sym <<= 1
		offs &= ^(match ^ sym)
	}
	return sum
}

// repPrice returns what rep i costs beside its length, after isRep.
func (c *coder) repPrice(i int, state uint8, ps uint32) uint32 {
	if i == 0 {
		return price0(c.isRepG0[state]) + price1(c.isRep0Long[state][ps])
	}
	p := price1(c.isRepG0[state])
	if i == 1 {
		return p + price0(c.isRepG1[state])
	}
	return p + price1(c.isRepG1[state]) + price(c.isRepG2[state], uint32(i-2))
}

// A weighing is the search of one decision.
type weighing struct {
	*Encoder
	src  []byte
	pos  int // where it began
	last int // the furthest node that is reached
}

// decide weighs ways from pos on until all of them meet, or one is long enough,
// and queues the symbols of the cheapest.
func (e *Encoder) decide(src []byte, pos int) {
	p := &e.plan
	w := weighing{e, src, pos, 0}
	p.nodes[0] = node{rep: e.rep, state: e.state}
	for cur := 0; ; cur++ {
		if cur > 0 {
			if p.arrive(cur); cur == w.last || cur >= planMost {
				p.accept(cur, symbol{})
				return
			}
		}
		if end := w.step(cur); end.n > 0 {
			p.accept(cur, end)
			return
		}
	}
}

// reach notes a way to a node if it is the cheapest yet.
func (w *weighing) reach(to int, price, prev, back, n uint32) {
	nodes := &w.plan.nodes
	for w.last < to {
		w.last++
		nodes[w.last].price = far
	}
	if o := &nodes[to]; price < o.price {
		o.price, o.prev, o.back, o.n = price, prev, back, n
	}
}

// step goes on from a node in all ways there are; or it returns the one to take.
func (w *weighing) step(cur int) symbol {
	src, at := w.src, w.pos+cur
	o := &w.plan.nodes[cur]
	found := w.finder.next()
	avail := min(len(src)-at, maxLen)
	if k := len(found); k > 0 && found[k-1].n >= nice {
		m := found[k-1]
		n := same(src[at:], src[at-int(m.dist)-1:], int(m.n), avail)
		if r := w.longRep(o, at, avail); r.n >= uint32(n) {
			m, n = match{r.n, 0}, int(r.n)
			w.finder.skip(n - 1)
			return r
		}
		w.finder.skip(n - 1)
		return symbol{m.dist + reps, uint32(n)}
	}
	if r := w.longRep(o, at, avail); r.n >= nice {
		w.finder.skip(int(r.n) - 1)
		return r
	}
	ps := uint32(at) & (posStates - 1)
	match := o.price + price1(w.isMatch[o.state][ps])
	rep := match + price1(w.isRep[o.state])
	w.literalWays(cur, at, avail, o, rep)
	longest := w.repWays(cur, at, avail, o, rep)
	w.matchWays(cur, at, avail, o, match+price0(w.isRep[o.state]), found, max(longest+1, minLen))
	return symbol{}
}

// longRep returns the longest rep.
func (w *weighing) longRep(o *node, at, avail int) (best symbol) {
	src := w.src
	for i, d := range o.rep {
		if int(d) >= at || avail < 2 || src[at] != src[at-int(d)-1] || src[at+1] != src[at-int(d)] {
			continue
		}
		if n := uint32(same(src[at:], src[at-int(d)-1:], 2, avail)); n > best.n {
			best = symbol{uint32(i), n}
		}
	}
	return best
}

// literalWays tries a literal, alone or before a rep, and a rep of one byte.
func (w *weighing) literalWays(cur, at, avail int, o *node, rep uint32) {
	src, ps := w.src, uint32(at)&(posStates-1)
	literal := o.price + price0(w.isMatch[o.state][ps]) + w.literalPrice(src, at, o.state, o.rep[0])
	w.reach(cur+1, literal, uint32(cur), literalBack, 1)
	d := int(o.rep[0])
	if d >= at {
		return
	}
	if src[at] == src[at-d-1] {
		short := rep + price0(w.isRepG0[o.state]) + price0(w.isRep0Long[o.state][ps])
		w.reach(cur+1, short, uint32(cur), 0, 1)
		return
	}
	w.thenRep(cur, at+1, avail-1, o.rep[0], afterLiteral[o.state], literal, literalBack, 1)
}

// thenRep tries a rep of distance d at a position behind symbol back of n bytes,
// and a literal if that was none.
func (w *weighing) thenRep(cur, at, avail int, d uint32, state uint8, cost, back, n uint32) {
	src := w.src
	from := at - int(d) - 1
	if avail < 2 || src[at] != src[from] || src[at+1] != src[from+1] {
		return
	}
	k := same(src[at:], src[from:], 2, min(avail, nice))
	ps := uint32(at) & (posStates - 1)
	cost += price1(w.isMatch[state][ps]) + price1(w.isRep[state]) + w.repPrice(0, state, ps) + w.plan.prices.rep[ps][k-minLen]
	w.reach(at-w.pos+k, cost, uint32(cur), back, n)
}

// repWays tries all reps and returns how long the first that there is gets.
func (w *weighing) repWays(cur, at, avail int, o *node, rep uint32) (longest int) {
	src, ps := w.src, uint32(at)&(posStates-1)
	if avail < 2 {
		return 0
	}
	for i, d := range o.rep {
		if int(d) >= at {
			continue
		}
		from := at - int(d) - 1
		if src[at] != src[from] || src[at+1] != src[from+1] {
			continue
		}
		n := same(src[at:], src[from:], 2, avail)
		if i == 0 {
			longest = n
		}
		base, lens := rep+w.repPrice(i, o.state, ps), &w.plan.prices.rep[ps]
		for k := n; k >= minLen; k-- {
			w.reach(cur+k, base+lens[k-minLen], uint32(cur), uint32(i), uint32(k))
		}
		w.literalRep(cur, at, avail, n, d, afterRep[o.state], base+lens[n-minLen], uint32(i))
	}
	return longest
}

// literalRep tries a literal and a rep behind a match or rep that cannot be
// longer than n.
func (w *weighing) literalRep(cur, at, avail, n int, d uint32, state uint8, cost, back uint32) {
	next := at + n
	if avail < n+3 || w.src[next+1] != w.src[next-int(d)] || w.src[next+2] != w.src[next+1-int(d)] {
		return
	}
	ps := uint32(next) & (posStates - 1)
	cost += price0(w.isMatch[state][ps]) + w.literalPrice(w.src, next, state, d)
	w.thenRep(cur, next+1, avail-n-1, d, afterLiteral[state], cost, back, uint32(n))
}

// matchWays tries the matches of least bytes or more.
func (w *weighing) matchWays(cur, at, avail int, o *node, base uint32, found []match, least int) {
	ps := uint32(at) & (posStates - 1)
	lens := &w.plan.prices.match[ps]
	n := least
	for _, m := range found {
		if int(m.n) < n {
			continue
		}
		var cost uint32
		for ; n <= int(m.n); n++ {
			cost = base + lens[n-minLen] + w.plan.prices.distance(m.dist, uint32(n))
			w.reach(cur+n, cost, uint32(cur), m.dist+reps, uint32(n))
		}
		w.literalRep(cur, at, avail, int(m.n), m.dist, afterMatch[o.state], cost, m.dist+reps)
	}
}

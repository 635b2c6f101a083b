package lz4

// maxWays is how many bytes are looked at together for the best way through.
const maxWays = 1 << 12

// A way is the cheapest one found to some byte: its price in bytes, and the last
// step, a literal (n is 1) or a match. lits is how many literals there are, at
// the end, or before the match.
type way struct{ price, n, distance, lits int }

// literalPrice returns how many bytes n literals take, without the token.
func literalPrice(n int) int {
	if n >= maxNibble {
		return n + 1 + (n-maxNibble)/255
	}
	return n
}

// matchPrice returns how many bytes literals and a match take.
func matchPrice(lits, n int) int {
	price := 1 + 2 + literalPrice(lits)
	if n >= maxNibble+minMatch {
		price += 1 + (n-maxNibble-minMatch)/255
	}
	return price
}

// best writes literals and matches until there is no room: from each match on,
// all ways to what comes after it are weighed. A match longer than enough is
// taken at once. If full, more is tried.
func (h *hc) best(enough int, full bool) {
	if h.ways == nil {
		h.ways = make([]way, maxWays+minMatch)
	}
	last := len(h.src) - matchLimit
	for i := 0; i <= last; {
		first, ok := h.longer(i, i, minMatch-1)
		if !ok {
			i++
			continue
		}
		if first.n > enough {
			if !h.put(first) {
				return
			}
			i = h.from
			continue
		}
		end := h.weigh(first, enough, full)
		for at := 0; at < end; {
			w := h.ways[at]
			if w.n > 1 && !h.put(found{i, i - w.distance, w.n}) {
				return
			}
			at, i = at+w.n, i+w.n
		}
	}
}

// weigh finds the best way from a match on, and turns it round: each way then
// has the step that goes on from there. It returns where that ends, or one step
// after where its last match begins.
func (h *hc) weigh(first found, enough int, full bool) (end int) {
	ways, start := h.ways, first.at
	lits := start - h.from
	for k := range minMatch {
		ways[k] = way{literalPrice(lits + k), 1, 0, lits + k}
	}
	for n := minMatch; n <= first.n; n++ {
		ways[n] = way{matchPrice(lits, n), n, first.at - first.ref, lits}
	}
	end = first.n
	h.trail(end)
	for cur := 1; cur < end && start+cur <= len(h.src)-matchLimit; cur++ {
		least := minMatch - 1
		if ways[cur+1].price <= ways[cur].price && (!full || ways[cur+minMatch].price < ways[cur].price+3) {
			continue
		}
		if !full {
			least = end - cur
		}
		f, ok := h.longer(start+cur, start+cur, least)
		if !ok {
			continue
		}
		if f.n > enough || f.n+cur >= maxWays {
			h.turn(cur, f.n, f.at-f.ref)
			return cur + 1
		}
		end = h.extend(cur, end, f)
		h.trail(end)
	}
	h.turn(end-ways[end].n, ways[end].n, ways[end].distance)
	return end
}

// trail sets ways that go on with literals.
func (h *hc) trail(end int) {
	for k := 1; k < minMatch; k++ {
		h.ways[end+k] = way{h.ways[end].price + literalPrice(k), 1, 0, k}
	}
}

// extend sets ways by literals and then by a match at cur where they are
// cheaper, and returns the new end.
func (h *hc) extend(cur, end int, f found) int {
	ways := h.ways
	here := ways[cur]
	for k := 1; k < minMatch; k++ {
		price := here.price - literalPrice(here.lits) + literalPrice(here.lits+k)
		if price < ways[cur+k].price {
			ways[cur+k] = way{price, 1, 0, here.lits + k}
		}
	}
	before, lits := here.price, 0
	if here.n == 1 {
		if before, lits = 0, here.lits; cur > lits {
			before = ways[cur-lits].price
		}
	}
	for n := minMatch; n <= f.n; n++ {
		at, price := cur+n, before+matchPrice(lits, n)
		if at <= end+minMatch-1 && price > ways[at].price {
			continue
		}
		if n == f.n {
			end = max(end, at)
		}
		ways[at] = way{price, n, f.at - f.ref, lits}
	}
	return end
}

// turn goes back from at, where a last step begins, and has each way say which
// step goes on from there.
func (h *hc) turn(at, n, distance int) {
	for {
		w := &h.ways[at]
		nextN, nextDistance := w.n, w.distance
		w.n, w.distance = n, distance
		if nextN > at {
			return
		}
		at, n, distance = at-nextN, nextN, nextDistance
	}
}

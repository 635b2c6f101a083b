package fetch

import (
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"mios/internal/atomicfile"
)

// A Meter counts the bytes that clients fetch, over restarts, in periods. Its
// methods may be called concurrently; no field may change after the first call. A
// nil Meter counts nothing.
type Meter struct {
	Path   string           // the file that keeps the count; "" means memory alone
	Budget int64            // bytes that a period allows; 0 means no limit
	Period time.Duration    // 0 means 30 days
	Now    func() time.Time // nil means time.Now
	Log    *slog.Logger     // nil means none

	mu      sync.Mutex
	loaded  bool
	count   meterCount
	unsaved int64
}

// meterCount is the content of a meter's file.
type meterCount struct {
	Start int64 `json:"start"` // of the period, in seconds since 1970
	Spent int64 `json:"spent"` // bytes
}

// saveEvery is how many bytes a power cut may make a meter forget.
const saveEvery = 4 << 20

// A Usage is what a meter has counted in its period.
type Usage struct {
	Spent  int64     `json:"spent"`            // bytes
	Budget int64     `json:"budget,omitempty"` // 0: no limit
	Until  time.Time `json:"until"`            // when the period ends
}

// Allows tells whether n more bytes are within the budget.
func (u Usage) Allows(n int64) bool { return u.Budget <= 0 || n <= u.Budget-u.Spent }

// Usage returns what was counted in the period that now is in.
func (m *Meter) Usage() Usage {
	if m == nil {
		return Usage{}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.turn()
	return Usage{Spent: m.count.Spent, Budget: m.Budget, Until: time.Unix(m.count.Start, 0).Add(m.period()).UTC()}
}

// Add counts n bytes.
func (m *Meter) Add(n int64) {
	if m == nil || n <= 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.turn()
	m.count.Spent += n
	if m.unsaved += n; m.unsaved >= saveEvery {
		m.save()
	}
}

// Save makes the count durable.
func (m *Meter) Save() {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.unsaved > 0 {
		m.save()
	}
}

func (m *Meter) period() time.Duration {
	if m.Period > 0 {
		return m.Period
	}
	return 30 * 24 * time.Hour
}

// turn begins a new period if the old one has ended. A clock that went back
// begins it anew without giving anything back.
func (m *Meter) turn() {
	now := time.Now
	if m.Now != nil {
		now = m.Now
	}
	if !m.loaded {
		m.loaded = true
		m.load()
	}
	start := time.Unix(m.count.Start, 0)
	switch t := now(); {
	case m.count.Start == 0 || !t.Before(start.Add(m.period())):
		m.count = meterCount{Start: t.Unix()}
	case t.Before(start):
		m.count.Start = t.Unix()
	}
}

func (m *Meter) load() {
	if m.Path == "" {
		return
	}
	b, err := os.ReadFile(m.Path)
	if err == nil {
		err = json.Unmarshal(b, &m.count)
	}
	if err != nil || m.count.Start < 0 || m.count.Spent < 0 {
		m.count = meterCount{}
		if !errors.Is(err, fs.ErrNotExist) {
			m.warn(err)
		}
	}
}

func (m *Meter) save() {
	m.unsaved = 0
	if m.Path == "" {
		return
	}
	b, err := json.Marshal(m.count)
	if err == nil {
		err = atomicfile.WriteBytes(m.Path, b, 0o600)
	}
	if err != nil {
		m.warn(err)
	}
}

func (m *Meter) warn(err error) {
	if m.Log != nil {
		m.Log.Warn("what was fetched is counted anew at the next start", "err", err)
	}
}

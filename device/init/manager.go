package initd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"mios"
	"mios/format/initrc"
)

// errClosed says that nothing is started any longer.
var errClosed = errors.New("the device is shutting down")

// A manager starts, watches and stops services.
type manager struct {
	spawn  *spawner
	log    *slog.Logger
	expand func(string) (string, error) // ${property}
	env    func() []string              // what every service gets
	set    func(name, value string)     // a property
	// onRestart runs the commands of a service that has ended.
	onRestart func(s *initrc.Service)
	// fatal is called when a critical service has ended too often, or one with
	// reboot_on_failure did not end well. power is a value for sys.powerctl, or "".
	fatal func(s *initrc.Service, reason, power string)
	// booted tells whether sys.boot_completed is set.
	booted func() bool
	uptime func() time.Duration

	mu       sync.Mutex
	services map[string]*service
	order    []string // in which they were defined
	closed   bool
}

// add defines a service. One that is defined already is kept, unless the new
// one overrides it.
func (m *manager) add(def *initrc.Service) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if old := m.services[def.Name]; old != nil {
		if !def.Override {
			return fmt.Errorf("%s:%d: service %s: %w: it is defined in %s:%d already", def.File, def.Line, def.Name,
				mios.ErrConflict, old.def.File, old.def.Line)
		}
		old.def, old.off = def, def.Disabled
		return nil
	}
	if m.services == nil {
		m.services = make(map[string]*service)
	}
	m.services[def.Name] = &service{def: def, state: stopped, off: def.Disabled}
	m.order = append(m.order, def.Name)
	return nil
}

// find returns a service. The caller holds the lock.
func (m *manager) find(name string) (*service, error) {
	s := m.services[name]
	if s == nil {
		return nil, fmt.Errorf("service %s: %w", name, mios.ErrNotFound)
	}
	return s, nil
}

// become changes the state and the property that shows it. The caller holds
// the lock.
func (m *manager) become(s *service, state string) {
	s.state = state
	if strings.HasPrefix(s.def.Name, execPrefix) {
		return
	}
	if state == starting { // AOSP has no property value for it
		return
	}
	m.set("init.svc."+s.def.Name, state)
}

// start starts a service unless it runs. One that is stopping starts once it
// has ended.
func (m *manager) start(name string) error {
	m.mu.Lock()
	s, err := m.find(name)
	if err != nil {
		m.mu.Unlock()
		return err
	}
	return m.launch(s)
}

// launch starts s and gives up the lock, which the caller holds.
func (m *manager) launch(s *service) error {
	if m.closed {
		m.mu.Unlock()
		return fmt.Errorf("start %s: %w", s.def.Name, errClosed)
	}
	s.off = false
	switch s.state {
	case starting, running:
		m.mu.Unlock()
		return nil
	case stopping:
		s.again = true
		m.mu.Unlock()
		return nil
	}
	stopTimer(&s.timer)
	s.again = false
	s.ended = make(chan struct{})
	s.started = time.Now()
	def := s.def
	m.become(s, starting)
	m.mu.Unlock()

	p, err := m.run(def)
	m.mu.Lock()
	defer m.mu.Unlock()
	if p.pid == 0 {
		go m.ended(s, 127<<8) // as a shell says that a program could not be started
		return fmt.Errorf("service %s: %w", def.Name, err)
	}
	if err != nil {
		m.log.Warn("service started, but not all is as it should be", "service", def.Name, "err", err)
	}
	m.begin(s, p)
	return nil
}

// run starts the process of a service.
func (m *manager) run(def *initrc.Service) (process, error) {
	args := make([]string, len(def.Args))
	for i, a := range def.Args {
		var err error
		if args[i], err = m.expand(a); err != nil {
			return process{}, err
		}
	}
	return m.spawn.start(def, args, m.env())
}

// begin notes that a process of s runs. The caller holds the lock.
func (m *manager) begin(s *service, p process) {
	s.pid = p.pid
	def := s.def
	if !strings.HasPrefix(def.Name, execPrefix) {
		m.set("init.svc_debug_pid."+def.Name, fmt.Sprint(p.pid))
		m.set("ro.boottime."+def.Name, fmt.Sprint(m.uptime().Nanoseconds()))
		m.log.Info("service started", "service", def.Name, "pid", p.pid)
	}
	stopNow := s.state == stopping // stop was called while it started
	m.become(s, running)
	if stopNow || m.closed {
		m.stopLocked(s)
	}
	if def.TimeoutPeriod > 0 {
		s.timeout = time.AfterFunc(def.TimeoutPeriod, func() { m.expire(s, p.pid) })
	}
	go func() { m.exit(s, p, <-p.exited) }()
}

// expire kills a process that ran past its timeout_period.
func (m *manager) expire(s *service, pid int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.pid == pid {
		m.log.Warn("service is killed: it ran too long", "service", s.def.Name, "limit", s.def.TimeoutPeriod)
		m.spawn.kill(s.def.Name, pid, syscall.SIGKILL)
	}
}

// exit is called when the process p of s has ended.
func (m *manager) exit(s *service, p process, ws syscall.WaitStatus) {
	m.spawn.clean(s.def, p.pid)
	m.mu.Lock()
	stopTimer(&s.timeout)
	s.pid = 0
	name, wanted := s.def.Name, s.state != stopping
	if !strings.HasPrefix(name, execPrefix) {
		m.log.Log(context.Background(), levelOf(wanted && !clean(ws)), "service ended", "service", name, "pid", p.pid,
			"how", describe(ws), "after", time.Since(s.started).Round(time.Millisecond))
		m.set("init.svc_debug_pid."+name, "")
	}
	m.mu.Unlock()
	m.ended(s, ws)
}

// ended decides what becomes of a service that has ended, or could not start.
func (m *manager) ended(s *service, ws syscall.WaitStatus) {
	m.mu.Lock()
	def := s.def
	stopTimer(&s.timer)
	s.status = ws
	close(s.ended)
	fatal, restart := false, false
	switch {
	case m.closed, s.state == stopping, s.again:
		m.become(s, stopped)
	case def.Oneshot:
		s.off = true
		m.become(s, stopped)
		fatal = !clean(ws) && def.RebootOnFailure != ""
	case def.Critical && s.crash(time.Now(), m.booted()):
		fatal = true
		m.become(s, stopped) // the machine reboots
	default:
		restart = true
		m.become(s, restarting)
		s.timer = time.AfterFunc(max(0, def.RestartPeriod-time.Since(s.started)), func() { m.retry(s) })
	}
	again := s.again && !m.closed
	m.mu.Unlock()
	switch {
	case fatal:
		m.fatal(def, fmt.Sprintf("service %s %s", def.Name, describe(ws)), def.RebootOnFailure)
	case again:
		m.retry(s)
	case restart && len(def.OnRestart) > 0:
		m.onRestart(def)
	}
}

// retry starts a service that is to start again by itself.
func (m *manager) retry(s *service) {
	m.mu.Lock()
	if s.state != restarting && !s.again {
		m.mu.Unlock()
		return
	}
	if err := m.launch(s); err != nil && !errors.Is(err, errClosed) {
		m.log.Error("restart", "err", err)
	}
}

func stopTimer(t **time.Timer) {
	if *t != nil {
		(*t).Stop()
		*t = nil
	}
}

// stop ends a service and leaves it off.
func (m *manager) stop(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, err := m.find(name)
	if err != nil {
		return err
	}
	s.off = true
	s.again = false
	m.stopLocked(s)
	return nil
}

// stopLocked ends the process of s. The caller holds the lock.
func (m *manager) stopLocked(s *service) {
	switch s.state {
	case restarting:
		stopTimer(&s.timer)
		m.become(s, stopped)
	case starting:
		s.state = stopping // begin sees it
	case running:
		m.become(s, stopping)
		if !s.def.GentleKill {
			m.spawn.kill(s.def.Name, s.pid, syscall.SIGKILL)
			return
		}
		pid := s.pid
		m.spawn.kill(s.def.Name, pid, syscall.SIGTERM)
		s.timer = time.AfterFunc(gentle, func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			if s.pid == pid {
				m.spawn.kill(s.def.Name, pid, syscall.SIGKILL)
			}
		})
	}
}

// restart ends a service, if it runs, and starts it.
func (m *manager) restart(name string, onlyRunning bool) error {
	m.mu.Lock()
	s, err := m.find(name)
	if err != nil {
		m.mu.Unlock()
		return err
	}
	switch s.state {
	case running, starting:
		m.stopLocked(s)
		s.again = true
	case stopped, restarting:
		if !onlyRunning {
			return m.launch(s)
		}
	case stopping:
		s.again = true
	}
	m.mu.Unlock()
	return nil
}

// enable makes class_start start a service that the option disabled keeps off,
// and starts it if a service of its class was started already.
func (m *manager) enable(name string) error {
	m.mu.Lock()
	s, err := m.find(name)
	if err != nil {
		m.mu.Unlock()
		return err
	}
	s.off = false
	for _, o := range m.services {
		if o != s && o.state == running && slices.ContainsFunc(o.def.Classes, func(c string) bool { return slices.Contains(s.def.Classes, c) }) {
			return m.launch(s)
		}
	}
	m.mu.Unlock()
	return nil
}

// class returns the services of a class.
func (m *manager) class(name string) []*service {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []*service
	for _, n := range m.order {
		if s := m.services[n]; slices.Contains(s.def.Classes, name) {
			list = append(list, s)
		}
	}
	return list
}

// classStart starts the services of a class that are not off, at once, and
// returns when all were started.
func (m *manager) classStart(name string) error {
	list := m.class(name)
	errs := make([]error, len(list))
	var group sync.WaitGroup
	for i, s := range list {
		group.Go(func() {
			m.mu.Lock()
			if s.off {
				m.mu.Unlock()
				return
			}
			errs[i] = m.launch(s)
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// classStop ends the services of a class. With reset, class_start starts them
// again.
func (m *manager) classStop(name string, reset bool) {
	for _, s := range m.class(name) {
		m.mu.Lock()
		s.off = s.off || !reset
		s.again = false
		m.stopLocked(s)
		m.mu.Unlock()
	}
}

// wait returns how the run of a service that goes on ended.
func (m *manager) wait(ctx context.Context, name string) (syscall.WaitStatus, error) {
	m.mu.Lock()
	s, err := m.find(name)
	if err != nil {
		m.mu.Unlock()
		return 0, err
	}
	ended := s.ended
	m.mu.Unlock()
	if ended == nil {
		return 0, nil
	}
	select {
	case <-ended:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return s.status, nil
}

// forget removes a service that was made for one run.
func (m *manager) forget(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.services, name)
	m.order = slices.DeleteFunc(m.order, func(n string) bool { return n == name })
}

// shutdown starts nothing any longer, asks all services to end, those with
// "shutdown critical" after the others, and kills what has not after the time.
func (m *manager) shutdown(patience time.Duration) {
	m.mu.Lock()
	m.closed = true
	for _, s := range m.services {
		s.again = false
		if s.state == restarting {
			m.stopLocked(s)
		}
	}
	m.mu.Unlock()
	for _, last := range []bool{false, true} {
		m.end(func(s *service) bool { return s.def.ShutdownLast == last }, patience)
	}
}

// end ends the services that match.
func (m *manager) end(match func(*service) bool, patience time.Duration) {
	m.mu.Lock()
	var waits []<-chan struct{}
	kill := func(sig syscall.Signal) {
		for _, s := range m.services {
			if match(s) && s.pid != 0 {
				if sig == syscall.SIGTERM {
					m.become(s, stopping)
					waits = append(waits, s.ended)
				}
				m.spawn.kill(s.def.Name, s.pid, sig)
			}
		}
	}
	kill(syscall.SIGTERM)
	m.mu.Unlock()
	deadline := time.After(patience)
	for _, w := range waits {
		select {
		case <-w:
			continue
		case <-deadline:
		}
		m.mu.Lock()
		kill(syscall.SIGKILL)
		m.mu.Unlock()
		return
	}
}

// clean tells whether a process ended with status 0.
func clean(ws syscall.WaitStatus) bool { return ws.Exited() && ws.ExitStatus() == 0 }

// describe says how a process ended.
func describe(ws syscall.WaitStatus) string {
	if ws.Signaled() {
		return fmt.Sprintf("was killed by signal %d (%v)", int(ws.Signal()), ws.Signal())
	}
	return fmt.Sprintf("exited with status %d", ws.ExitStatus())
}

func levelOf(bad bool) slog.Level {
	if bad {
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

package initrc

import (
	"errors"
	"io/fs"
	"strings"
	"time"
)

// A Service is a program that init starts, watches and starts again. The
// fields are what its options say; Options has them as they were written.
type Service struct {
	Name string
	Args []string // the program's path and its arguments
	File string
	Line int

	Classes         []string // default: "default"
	User            string   // a name, or a number
	Group           string   // "" means the group that has the user's number
	Supplementary   []string
	Capabilities    []string // upper case, without CAP_
	HasCapabilities bool     // the option is there, perhaps without a name: then none are left
	Env             []Variable
	Sockets         []Socket
	Files           []File
	WritePID        []string
	Rlimits         []Rlimit
	Namespaces      []string // pid, mnt, net, uts
	Priority        int      // -20 to 19
	OOMScoreAdjust  *int     // -1000 to 1000
	Console         string   // below /dev; see HasConsole
	HasConsole      bool     // standard input, output and errors are a console
	StdioToKmsg     bool

	Oneshot    bool
	Disabled   bool
	Override   bool
	GentleKill bool

	Critical       bool
	CriticalWindow time.Duration // in which the fourth death is fatal
	CriticalTarget string        // what is rebooted into then

	RestartPeriod   time.Duration // from one start to the next, at least
	TimeoutPeriod   time.Duration // after which it is killed; 0 means never
	RebootOnFailure string        // a value for sys.powerctl
	ShutdownLast    bool          // "shutdown critical": is stopped after the others
	OnRestart       []Command

	Ignored []Command // options that mean nothing on a device of base core
	Options []Command // all
}

// A Variable is an environment variable.
type Variable struct{ Name, Value string }

// A Socket is a Unix socket that init makes below /dev/socket and hands to the
// service under the environment variable ANDROID_SOCKET_NAME.
type Socket struct {
	Name        string
	Type        string // stream, dgram, seqpacket
	Passcred    bool
	Listen      bool
	Mode        fs.FileMode
	User, Group string // "" means root
}

// A File is opened by init and handed to the service under ANDROID_FILE_path.
type File struct {
	Path string
	Mode string // r, w, rw
}

// newService returns a service with AOSP's defaults.
func newService(name string, args []string) *Service {
	return &Service{
		Name: name, Args: args,
		CriticalWindow: 4 * time.Minute, CriticalTarget: "bootloader",
		RestartPeriod: 5 * time.Second,
	}
}

// finish fills in what was left open, and refuses what AOSP's
// ServiceParser::EndSection refuses.
func (s *Service) finish() error {
	if len(s.Classes) == 0 {
		s.Classes = []string{"default"}
	}
	if s.User == "" {
		return errors.New("no user: add the option user")
	}
	if s.Critical && s.Oneshot {
		return errors.New("both critical and oneshot")
	}
	return nil
}

// validServiceName tells whether init.svc.NAME is the name of a property, and
// NAME that of a file.
func validServiceName(name string) bool {
	if name == "" || strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".") || strings.Contains(name, "..") {
		return false
	}
	for _, c := range []byte(name) {
		if !alnum(c) && !strings.ContainsRune("._-@:", rune(c)) {
			return false
		}
	}
	return len(name) <= 200
}

// Package watchdog pets the timer that restarts a host whose guard has stopped.
//
// Its main rule: a watchdog once opened restarts the host unless it is petted
// in time, or disarmed; to lose the device, by an error or by the end of the
// process, is never a reason for it to hold still. It opens only what it is
// told to open, and knows nothing of why it is petted.
//
// Two kinds are known by what lies at the path: a character device, with the
// kernel's interface (Documentation/watchdog/watchdog-api.rst), and a regular
// file, a stand-in for tests and for programs that watch over a host from
// outside, in which [Beat] is written.
package watchdog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/base/clock"
)

// Timeout is how long after the last pet the host is restarted. A device may
// round it.
const Timeout = 10 * time.Second

var (
	// ErrKind means that the path is neither a character device nor a regular
	// file.
	ErrKind = errors.New("neither a watchdog device nor a regular file")
	// ErrBusy means that another program has the device.
	ErrBusy = errors.New("another program has the watchdog")
)

// Device is a watchdog that is armed. It is not safe for concurrent use.
type Device struct {
	file    *os.File
	clock   clock.Clock
	timeout time.Duration
	fake    bool
	pets    uint64
	stays   bool
}

// Open opens and arms the watchdog at path, with [Timeout] or what the device
// makes of it. It returns [ErrKind], [ErrBusy], or the system's error. A regular
// file must exist.
func Open(path string, clk clock.Clock) (*Device, error) {
	// What is there is looked at before it is opened: opening arms it.
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("open the watchdog: %w", err)
	}
	if !info.Mode().IsRegular() && info.Mode()&os.ModeCharDevice == 0 {
		return nil, fmt.Errorf("open the watchdog %s: %w", path, ErrKind)
	}
	file, err := os.OpenFile(path, os.O_WRONLY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.EBUSY) {
		return nil, fmt.Errorf("open the watchdog %s: %w", path, ErrBusy)
	}
	if err != nil {
		return nil, fmt.Errorf("open the watchdog: %w", err)
	}
	d := &Device{file: file, clock: clk, timeout: Timeout, fake: info.Mode().IsRegular()}
	if err := d.begin(); err != nil {
		// It is armed, and nobody will pet it.
		return nil, errors.Join(err, d.Disarm())
	}
	return d, nil
}

// Adopt goes on with a watchdog that the program before this one has left open
// across an exec, in the descriptor fd.
func Adopt(fd int, clk clock.Clock) (*Device, error) {
	file := os.NewFile(uintptr(fd), "watchdog")
	if file == nil {
		return nil, fmt.Errorf("go on with the watchdog in descriptor %d: %w", fd, unix.EBADF)
	}
	unix.CloseOnExec(fd)
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("go on with the watchdog: %w", err)
	}
	if !info.Mode().IsRegular() && info.Mode()&os.ModeCharDevice == 0 {
		return nil, fmt.Errorf("go on with the watchdog in descriptor %d: %w", fd, ErrKind)
	}
	d := &Device{file: file, clock: clk, timeout: Timeout, fake: info.Mode().IsRegular()}
	if err := d.begin(); err != nil {
		return nil, err
	}
	return d, nil
}

// begin sets the timeout and pets once.
func (d *Device) begin() error {
	if d.fake {
		return d.Pet()
	}
	seconds := int32(Timeout / time.Second)
	// Some devices have one timeout only. What counts is what they say it is.
	_ = d.control(unix.WDIOC_SETTIMEOUT, &seconds)
	if d.control(unix.WDIOC_GETTIMEOUT, &seconds) == nil && seconds > 0 {
		d.timeout = time.Duration(seconds) * time.Second
	}
	d.stays = d.nowayout()
	return d.Pet()
}

// Timeout is how long after the last pet the host is restarted.
func (d *Device) Timeout() time.Duration { return d.timeout }

// Stays reports that the device cannot be disarmed ("nowayout"): once its
// program ends, in order or not, the host is restarted.
func (d *Device) Stays() bool { return d.stays }

// Pet puts the restart off by the timeout.
func (d *Device) Pet() error {
	if d.fake {
		d.pets++
		return d.note(Beat{Armed: true, Timeout: d.timeout, At: d.clock.Boot(), Pets: d.pets, Pid: os.Getpid()})
	}
	var ignored int32
	if err := d.control(unix.WDIOC_KEEPALIVE, &ignored); err != nil {
		// Any write pets too, but for the letter V, which disarms.
		if _, err := d.file.Write([]byte{0}); err != nil {
			return fmt.Errorf("pet the watchdog: %w", err)
		}
	}
	return nil
}

// Disarm switches the watchdog off and closes it. A device that [Device.Stays]
// goes on all the same. After an error it may still be armed.
func (d *Device) Disarm() error {
	var err error
	if d.fake {
		err = d.note(Beat{Timeout: d.timeout, At: d.clock.Boot(), Pets: d.pets, Pid: os.Getpid()})
	} else {
		_, err = d.file.WriteString("V") // the magic close
	}
	if err := errors.Join(err, d.file.Close()); err != nil {
		return fmt.Errorf("disarm the watchdog: %w", err)
	}
	return nil
}

// Descriptor is the device's descriptor, to be left open across an exec.
func (d *Device) Descriptor() int { return int(d.file.Fd()) }

// control makes one call of ioctl(2) with a pointer to a number.
func (d *Device) control(request uint, value *int32) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, d.file.Fd(), uintptr(request), uintptr(unsafe.Pointer(value)))
	if errno != 0 {
		return errno
	}
	return nil
}

// nowayout asks sysfs, where the kernel has it, whether the device can be
// disarmed.
func (d *Device) nowayout() bool {
	var st unix.Stat_t
	if unix.Fstat(int(d.file.Fd()), &st) != nil {
		return false
	}
	major, minor := unix.Major(st.Rdev), unix.Minor(st.Rdev)
	if major == 10 && minor == 130 { // /dev/watchdog is the first of them by another number
		return setting("/sys/class/watchdog/watchdog0")
	}
	return setting(filepath.Join("/sys/dev/char", fmt.Sprintf("%d:%d", major, minor)))
}

func setting(folder string) bool {
	text, err := os.ReadFile(filepath.Join(folder, "nowayout"))
	return err == nil && strings.TrimSpace(string(text)) == "1"
}

// Beat is what the stand-in's file says. Who plays the watchdog ends the host
// when Armed is true and Timeout has passed since At.
type Beat struct {
	Armed   bool
	Timeout time.Duration
	At      time.Duration // CLOCK_BOOTTIME of the last pet
	Pets    uint64        // of this process
	Pid     int
}

// beatSize is the size of the stand-in's file: one line, always of this length.
const beatSize = 80

// note writes a beat in one call, so that nobody reads half of it.
func (d *Device) note(b Beat) error {
	word := "off"
	if b.Armed {
		word = "armed"
	}
	line := fmt.Sprintf("%-5s timeout=%d at=%d pets=%d pid=%d", word, b.Timeout, b.At, b.Pets, b.Pid)
	line = fmt.Sprintf("%-*s\n", beatSize-1, line)
	if _, err := d.file.WriteAt([]byte(line), 0); err != nil {
		return fmt.Errorf("write the stand-in of a watchdog: %w", err)
	}
	return nil
}

// ReadBeat reads the file of a stand-in. A file that nobody has armed yet gives
// the zero Beat.
func ReadBeat(path string) (Beat, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Beat{}, fmt.Errorf("read the stand-in of a watchdog: %w", err)
	}
	return parseBeat(string(text))
}

var errBeat = errors.New("not what a stand-in of a watchdog says")

func parseBeat(text string) (Beat, error) {
	fields := strings.Fields(text)
	if len(fields) == 0 {
		return Beat{}, nil
	}
	if len(fields) != 5 || fields[0] != "armed" && fields[0] != "off" {
		return Beat{}, errBeat
	}
	var numbers [4]int64
	for i, key := range []string{"timeout=", "at=", "pets=", "pid="} {
		value, found := strings.CutPrefix(fields[i+1], key)
		n, err := strconv.ParseInt(value, 10, 64)
		if !found || err != nil || n < 0 {
			return Beat{}, errBeat
		}
		numbers[i] = n
	}
	return Beat{
		Armed: fields[0] == "armed", Timeout: time.Duration(numbers[0]), At: time.Duration(numbers[1]),
		Pets: uint64(numbers[2]), Pid: int(numbers[3]),
	}, nil
}

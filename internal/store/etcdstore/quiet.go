package etcdstore

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/keelson/keelson/internal/base/logkey"
)

const (
	// quietPeriod is how long one message of etcd stays silent after it was
	// logged once.
	quietPeriod = time.Minute
	// quietMessages is how many different messages are told apart.
	quietMessages = 200
)

// quiet carries etcd's warnings and errors to a slog logger, each message at
// most once per quietPeriod. It is a zapcore.Core and, for fatal entries, a
// zapcore.CheckWriteHook: etcd means to end the process then, quiet ends only
// the goroutine and keeps the cause.
type quiet struct {
	log *slog.Logger

	mu     sync.Mutex
	told   map[string]time.Time // by message, when it was logged last
	muted  bool                 // nothing is logged any more
	cause  error                // of the first fatal entry
	broken chan struct{}        // closed with the first fatal entry
}

func newQuiet(log *slog.Logger) *quiet {
	return &quiet{log: log, told: make(map[string]time.Time), broken: make(chan struct{})}
}

// zap returns a logger whose Fatal and Panic end the calling goroutine.
func (q *quiet) zap() *zap.Logger {
	return zap.New(q, zap.WithFatalHook(q), zap.WithPanicHook(q))
}

// failure returns the cause of the first fatal entry, nil if there was none.
func (q *quiet) failure() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.cause
}

// OnWrite implements [zapcore.CheckWriteHook]. It does not return.
func (q *quiet) OnWrite(entry *zapcore.CheckedEntry, fields []zapcore.Field) {
	q.fail(entry.Message, fieldError(fields))
	runtime.Goexit()
}

func (q *quiet) fail(message string, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.cause != nil {
		return
	}
	if err == nil {
		q.cause = errors.New(message)
	} else {
		q.cause = fmt.Errorf("%s: %w", message, err)
	}
	close(q.broken)
}

func fieldError(fields []zapcore.Field) error {
	for _, field := range fields {
		if err, ok := field.Interface.(error); ok {
			return err
		}
	}
	return nil
}

// Enabled implements [zapcore.LevelEnabler].
func (q *quiet) Enabled(level zapcore.Level) bool { return level >= zapcore.WarnLevel }

// With implements [zapcore.Core]; fields of context are not kept.
func (q *quiet) With([]zapcore.Field) zapcore.Core { return q }

// Check implements [zapcore.Core].
func (q *quiet) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if !q.Enabled(entry.Level) {
		return checked
	}
	return checked.AddCore(entry, q)
}

// Write implements [zapcore.Core].
func (q *quiet) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	if !q.due(entry) {
		return nil
	}
	log := q.log.Warn
	if entry.Level >= zapcore.DPanicLevel {
		log = q.log.Error
	}
	attrs := []any{"text", entry.Message}
	if err := fieldError(fields); err != nil {
		attrs = append(attrs, logkey.Err, err)
	}
	log("etcd warned", attrs...)
	return nil
}

// Sync implements [zapcore.Core].
func (q *quiet) Sync() error { return nil }

// mute ends the logging: what a server says while it is being stopped is about
// the stop.
func (q *quiet) mute() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.muted = true
}

// noise reports whether a message is no news: a choice of ours that etcd
// advises against, or a failed attempt, whose error the caller gets.
func noise(message string) bool {
	switch message {
	case "Running http and grpc server on single port. This is not recommended for production.",
		"simple token is not cryptographically signed", // no tokens are used
		"retrying of unary invoker failed":
		return true
	default:
		return false
	}
}

func (q *quiet) due(entry zapcore.Entry) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.muted || noise(entry.Message) {
		return false
	}
	if last, ok := q.told[entry.Message]; ok && entry.Time.Sub(last) < quietPeriod {
		return false
	}
	if len(q.told) >= quietMessages {
		clear(q.told)
	}
	q.told[entry.Message] = entry.Time
	return true
}

package etcdstore

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"go.uber.org/zap"
)

func TestQuietLogger(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	q := newQuiet(slog.New(slog.NewTextHandler(&out, nil)))
	log := q.zap()
	log.Info("not worth a word")
	for range 10 {
		log.Warn("slow disk", zap.Error(errors.New("took long")))
	}
	log.Warn("retrying of unary invoker failed")
	q.mute()
	log.Warn("stopping")
	if lines := strings.Count(out.String(), "\n"); lines != 1 || !strings.Contains(out.String(), `text="slow disk" err="took long"`) {
		t.Errorf("logged:\n%s\nwant the slow disk once", &out)
	}
}

func TestFatalEntryEndsItsGoroutineOnly(t *testing.T) {
	t.Parallel()
	cause := errors.New("bad block")
	for _, end := range []func(*zap.Logger){
		func(l *zap.Logger) { l.Fatal("log not written", zap.Error(cause)) },
		func(l *zap.Logger) { l.Panic("log not written", zap.Error(cause)) },
		func(l *zap.Logger) { l.Sugar().Panicf("log not %s: %v", "written", cause) },
	} {
		q := newQuiet(slog.New(slog.DiscardHandler))
		went, ended := false, make(chan struct{})
		go func() {
			defer close(ended)
			end(q.zap())
			went = true
		}()
		<-ended
		<-q.broken
		if went || q.failure() == nil || !strings.Contains(q.failure().Error(), "bad block") {
			t.Errorf("went on: %v, failure %v", went, q.failure())
		}
	}
}

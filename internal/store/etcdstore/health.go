package etcdstore

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
)

// fsyncMetric is etcd's own histogram of the time its log takes to reach disk.
const fsyncMetric = "etcd_disk_wal_fsync_duration_seconds"

// Health is how a server is. The zero value is that of a stopped one.
type Health struct {
	Running   bool
	Leads     bool
	Learner   bool
	HasLeader bool
	// Leader is the id of the cluster's leader in hex, empty if there is none.
	Leader string
	// Behind is how many agreed changes the server has not applied yet.
	Behind uint64
	// SizeBytes is that of the database file.
	SizeBytes int64
	// FreeBytes is the room under the data directory.
	FreeBytes uint64
	// Full: the store takes no writes, see [ErrFull]. Corrupt: the servers'
	// data differ.
	Full, Corrupt bool
	// Fsync is the time within which 99 % of the log's writes since the
	// process began reached the disk, rounded up to a power of two of 1 ms; 0
	// if there were none.
	Fsync time.Duration
}

// Health reports how the server is. It asks nobody else.
func (s *Server) Health() (Health, error) {
	etcd := s.etcd()
	if etcd == nil {
		return Health{}, nil
	}
	server := etcd.Server
	h := Health{
		Running: true, Leads: s.Leads(), Learner: server.IsLearner(),
		HasLeader: server.Leader() != 0,
		Behind:    server.CommittedIndex() - min(server.AppliedIndex(), server.CommittedIndex()),
		SizeBytes: server.Backend().Size(),
	}
	if h.HasLeader {
		h.Leader = strconv.FormatUint(uint64(server.Leader()), 16)
	}
	for _, alarm := range server.Alarms() {
		h.Full = h.Full || alarm.GetAlarm() == etcdserverpb.AlarmType_NOSPACE
		h.Corrupt = h.Corrupt || alarm.GetAlarm() == etcdserverpb.AlarmType_CORRUPT
	}
	var err error
	if h.FreeBytes, err = freeBytes(s.options.Dir); err != nil {
		return h, fmt.Errorf("look at the store server: %w", err)
	}
	if h.Fsync, err = fsyncTime(prometheus.DefaultGatherer); err != nil {
		return h, fmt.Errorf("look at the store server: %w", err)
	}
	return h, nil
}

// fsyncTime returns the bound below which 99 % of the fsyncs lie.
func fsyncTime(metrics prometheus.Gatherer) (time.Duration, error) {
	families, err := metrics.Gather()
	if err != nil {
		return 0, err
	}
	for _, family := range families {
		if family.GetName() != fsyncMetric || len(family.GetMetric()) == 0 {
			continue
		}
		histogram := family.GetMetric()[0].GetHistogram()
		enough := uint64(math.Ceil(float64(histogram.GetSampleCount()) * 0.99))
		if enough == 0 {
			return 0, nil
		}
		var bound float64
		for _, bucket := range histogram.GetBucket() {
			if !math.IsInf(bucket.GetUpperBound(), 1) {
				bound = bucket.GetUpperBound()
			}
			if bucket.GetCumulativeCount() >= enough {
				break
			}
		}
		return time.Duration(bound * float64(time.Second)), nil
	}
	return 0, nil
}

package boot_test

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"

	"github.com/countersign/countersign/services/internal/boot"
)

func TestPercentFor(t *testing.T) {
	const mib = 1 << 20
	for live, want := range map[uint64]int{
		0: 300, mib: 300, 13 * mib: 300, 20 * mib: 200, 40 * mib: 100, 80 * mib: 50, 160 * mib: 25, 4096 * mib: 25,
	} {
		if got := boot.PercentFor(live); got != want {
			t.Errorf("%d MiB live: %d, want %d", live/mib, got, want)
		}
	}
}

// TestCollectByWhatIsLive: the percentage follows what is live, both ways.
func TestCollectByWhatIsLive(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	boot.CollectByWhatIsLive()
	ballast := make([]byte, 80<<20)
	wantPercent(t, 40, 50)
	runtime.KeepAlive(ballast)
	wantPercent(t, boot.MostPercent, boot.MostPercent)
}

func wantPercent(t *testing.T, least, most uint64) {
	t.Helper()
	sample := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		runtime.GC()
		if metrics.Read(sample); least <= sample[0].Value.Uint64() && sample[0].Value.Uint64() <= most {
			return
		}
	}
	t.Fatalf("%d percent, want %d to %d", sample[0].Value.Uint64(), least, most)
}

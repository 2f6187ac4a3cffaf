package boot

// What the tests reach into.
var (
	PercentFor          = percentFor
	CollectByWhatIsLive = collectByWhatIsLive
)

// MostPercent is what a service with little live has.
const MostPercent = mostPercent

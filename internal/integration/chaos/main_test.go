package chaos_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
)

func TestMain(m *testing.M) {
	if settings := os.Getenv(settingsVariable); settings != "" {
		if err := serve(settings); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	services.Main(m)
}

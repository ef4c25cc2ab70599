// Microsoft's client for Go exchanges a user's access token on behalf of the user, twice.
package main

import (
	"context"
	"encoding/json"
	"log"
	"os"

	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/confidential"
)

func main() {
	secret, err := confidential.NewCredFromSecret(os.Getenv("CLIENT_SECRET"))
	if err != nil {
		log.Fatal(err)
	}
	client, err := confidential.New(
		os.Getenv("AUTHORITY"), os.Getenv("CLIENT_ID"), secret,
		confidential.WithInstanceDiscovery(false),
	)
	if err != nil {
		log.Fatal(err)
	}
	tokens := []string{}
	for range 2 {
		result, err := client.AcquireTokenOnBehalfOf(
			context.Background(), os.Getenv("USER_ASSERTION"), []string{os.Getenv("SCOPE")},
		)
		if err != nil {
			log.Fatal(err)
		}
		tokens = append(tokens, result.AccessToken)
	}
	if err := json.NewEncoder(os.Stdout).Encode(tokens); err != nil {
		log.Fatal(err)
	}
}

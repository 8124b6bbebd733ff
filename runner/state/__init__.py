"""What is kept between runs: sessions, used codes, the ledger of jobs."""

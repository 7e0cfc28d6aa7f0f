"""What each subcommand of ``agenthost`` does; imported only when it is called."""

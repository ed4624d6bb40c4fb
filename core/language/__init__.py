"""What a rule may say, and how it is read: its two functions, traced to a graph and cut into passes."""

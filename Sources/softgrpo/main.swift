print("softgrpo")

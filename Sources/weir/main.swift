import ArgumentParser


print("weir")

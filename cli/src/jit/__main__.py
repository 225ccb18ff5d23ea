from jit.main import main

main()

int weir_placeholder(void); 
